// SPDX-License-Identifier: Apache-2.0
// vetoes.json, weights.json and closed.json as another agent, or a broken disk, left it. What is
// read is written and read again.
#include "agent/canary/state_dir.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "agent/canary/verdict_json.h"
#include "tests/fuzz/fuzz.h"

namespace {

// Every input is synced. tools/fuzz removes it where a finding ends the process.
struct Directory {
  std::string path = "/dev/shm/slogate-fuzz-" + std::to_string(::getpid());
  Directory() { std::filesystem::create_directory(path); }
  ~Directory() { std::filesystem::remove_all(path); }
};

void write_file(const std::string& path, const uint8_t* data, size_t size) {
  const slogate::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  slogate::fuzz::require(fd && ::write(fd.get(), data, size) == static_cast<ssize_t>(size),
                         "a file");
}

std::string text_of(const std::vector<slogate::LatchedVeto>& vetoes) {
  std::string text;
  for (const auto& veto : vetoes) text += veto.canary + slogate::dump(verdict_json(veto.verdict));
  return text;
}

void fuzz_weights(const slogate::StateDir& state) {
  const auto weights = state.read_weights("");
  if (!weights) return;
  slogate::fuzz::require(state.write_weights(*weights, "").has_value(), "it can be written");
  const auto again = state.read_weights("");
  slogate::fuzz::require(again && *again == *weights, "what was written is read");
}

void fuzz_closed(const slogate::StateDir& state) {
  const auto closed = state.read_closed();
  if (!closed) return;
  slogate::fuzz::require(state.write_closed(*closed).has_value(), "it can be written");
  const auto again = state.read_closed();
  slogate::fuzz::require(again && *again == *closed, "what was written is read");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using slogate::fuzz::require;
  static const Directory directory;
  write_file(directory.path + "/vetoes.json", data, size);
  const auto state = slogate::StateDir::open(directory.path);
  require(state.has_value(), "the directory opens");
  write_file(directory.path + "/weights.json", data, size);
  fuzz_weights(*state);
  write_file(directory.path + "/closed.json", data, size);
  fuzz_closed(*state);
  const auto vetoes = state->read_vetoes();
  if (!vetoes) return 0;
  require(state->write_vetoes(*vetoes).has_value(), "it can be written");
  const auto again = state->read_vetoes();
  require(again && text_of(*again) == text_of(*vetoes), "what was written is read");
  return 0;
}
