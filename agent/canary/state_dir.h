// SPDX-License-Identifier: Apache-2.0
// What must survive the agent: vetoes, weights, and the log of how verdicts changed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/base/json.h"
#include "agent/canary/analysis.h"
#include "maps/fd.h"

namespace slogate {

// The audit log has this file and one before it, each at most so large.
inline constexpr size_t kAuditBytes = size_t{1} << 20;

// A directory of files that belong to the agent:
//   vetoes.json        vetoes in force, replaced as a whole: never half written
//   weights.json       weights that canaries have earned, of this boot alone; likewise
//   closed.json        breakers that were closed by hand, likewise
//   audit.jsonl, .1    one line of JSON for each change of a verdict or of a breaker, oldest in .1
class StateDir {
 public:
  // Makes the directory, readable by its owner only, where it is missing.
  static Result<StateDir> open(const std::string& path);

  // The vetoes in force when the last agent ended. A missing file is none; one that is damaged is
  // an error, for the log.
  [[nodiscard]] Result<std::vector<LatchedVeto>> read_vetoes() const;
  [[nodiscard]] Result<void> write_vetoes(const std::vector<LatchedVeto>& vetoes) const;

  // Weights, likewise. Those of another boot (`boot`, any text) are none: ids of cgroups begin
  // anew.
  [[nodiscard]] Result<std::vector<KeptWeight>> read_weights(std::string_view boot) const;
  [[nodiscard]] Result<void> write_weights(const std::vector<KeptWeight>& weights,
                                           std::string_view boot) const;

  // SLO and rollout of breakers that were closed by hand, likewise.
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> read_closed() const;
  [[nodiscard]] Result<void> write_closed(
      const std::vector<std::pair<std::string, std::string>>& closed) const;

  // Appends a line with the whole evidence.
  [[nodiscard]] Result<void> append(const VerdictChange& change) const;
  // Appends a line about something else; it has no member "verdict".
  [[nodiscard]] Result<void> append(const Json& line) const;

 private:
  StateDir(std::string path, Fd directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}
  // Nothing where there is no such file.
  [[nodiscard]] Result<std::optional<std::string>> read_text(const char* name) const;
  [[nodiscard]] Result<void> write_file(const char* name, std::string_view text) const;

  std::string path_;
  Fd directory_;
};

}  // namespace slogate
