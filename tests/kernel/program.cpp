// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/program.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "maps/integer.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().line());
  return std::move(*result);
}

const passwd& entry_of(const std::string& user) {
  // cppcheck-suppress getpwnamCalled ; by one thread
  const passwd* entry = getpwnam(user.c_str());
  if (entry == nullptr) throw std::runtime_error("no user " + user);
  return *entry;
}

void become(const passwd& user) {
  check(setgroups(0, nullptr), "setgroups");
  check(setgid(user.pw_gid), "setgid");
  check(setuid(user.pw_uid), "setuid");
  // The kernel forgets it with the old rights.
  check(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
}

support::Process start(const TestCgroup& cgroup, const std::vector<std::string>& argv,
                       const std::string& user) {
  const passwd* entry = user.empty() ? nullptr : &entry_of(user);
  return must(support::Process::run([&](int out) {
    cgroup.enter();
    check(dup2(out, STDERR_FILENO), "dup2");
    if (entry != nullptr) become(*entry);
    std::vector<char*> arguments;
    for (const std::string& argument : argv)
      arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    return 127;
  }));
}

// Without connecting: nobody else can listen where somebody does.
bool is_listening(uint16_t port) {
  const Fd fd(check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const Address address(kLoopback, port);
  return bind(fd.get(), address.data(), address.size()) != 0 && errno == EADDRINUSE;
}

}  // namespace

std::string find_program(const std::string& name) {
  std::vector<std::filesystem::path> directories{"/usr/bin", "/usr/sbin", "/usr/local/bin"};
  std::error_code error;
  // Debian keeps PostgreSQL's own out of the way, by version.
  for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", error))
    directories.insert(directories.begin(), version.path() / "bin");
  for (const auto& directory : directories)
    if (access((directory / name).c_str(), X_OK) == 0) return directory / name;
  return "";
}

// ---- TempDir ----

TempDir::TempDir() : path_(std::filesystem::temp_directory_path() / "slogate-test-XXXXXX") {
  if (mkdtemp(path_.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), "mkdtemp");
}

TempDir::~TempDir() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

void TempDir::write(const std::string& name, const std::string& text) const {
  std::ofstream file(path_ + "/" + name);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + name);
}

void TempDir::give_to(const std::string& user) const {
  const passwd& entry = entry_of(user);
  check(chown(path_.c_str(), entry.pw_uid, entry.pw_gid), "chown");
}

// ---- Program ----

Program::Program(const TestCgroup& cgroup, const std::vector<std::string>& argv,
                 const std::string& user)
    : name_(argv.at(0)), process_(start(cgroup, argv, user)) {}

std::string Program::finish(std::chrono::seconds within) {
  const int code = must(process_.wait(support::within(within)));
  if (code != 0)
    throw std::runtime_error(fmt::format("{} ended with {}: {}", name_, code, process_.output()));
  return process_.output();
}

void Program::wait_until_listening(uint16_t port) {
  if (!eventually([port] { return is_listening(port); }, std::chrono::seconds(20)))
    throw std::runtime_error(fmt::format("{} does not listen: {}", name_, process_.output()));
}

void Program::wait_for_line(const std::string& prefix) {
  must(process_.wait_for_line(prefix, support::within(std::chrono::seconds(30))));
}

void Program::stop(int signal) {
  process_.signal(signal);
  must(process_.wait(support::within(std::chrono::seconds(30))));
}

uint16_t free_port() {
  const Fd fd(check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const Address any(kLoopback, 0);
  check(bind(fd.get(), any.data(), any.size()), "bind");
  return Address::of_socket(fd.get()).port();
}

uint64_t number_after(const std::string& text, const std::string& before) {
  const size_t at = text.find(before);
  const std::string_view rest =
      at == std::string::npos ? "" : std::string_view(text).substr(at + before.size());
  if (const auto number = parse_integer<uint64_t>(leading_digits(rest))) return *number;
  throw std::runtime_error(fmt::format("no number after \"{}\" in: {}", before, text));
}

}  // namespace slogate
