// SPDX-License-Identifier: Apache-2.0
// What a report says of the lines that agents write.
#include "tools/cli/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "agent/base/tick_time.h"
#include "agent/canary/state_dir.h"

namespace slogate::cli {
namespace {

using namespace std::chrono_literals;
using std::chrono::system_clock;
using ::testing::HasSubstr;
using ::testing::Not;

const system_clock::time_point kStart = *parse_rfc3339("2026-11-30T10:00:00.000Z");

// A state directory with what the agent's own code writes into it.
class Log {
 public:
  Log() : path_(testing::TempDir() + "slogate-report-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) throw std::system_error(errno, std::generic_category());
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  void add(const std::string& slo, const std::string& rollout, const std::string& from, Decision to,
           std::chrono::milliseconds after, Reason reason, uint64_t samples = 0,
           const std::string& message = "said so") {
    Verdict verdict{
        .slo = slo, .decision = to, .reason = reason, .message = message, .objectives = {}};
    verdict.since = kStart + after;
    verdict.rollout = rollout;
    verdict.samples.canary = samples;
    verdict.blocks = 10;
    verdict.block = 250ms;
    const auto dir = StateDir::open(path());
    ASSERT_TRUE(dir.has_value());
    ASSERT_TRUE(dir->append({.time = kStart + after,
                             .from = from,
                             .now = std::make_shared<const Verdict>(verdict)})
                    .has_value());
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  void spoil() const {
    std::ofstream(path() + "/audit.jsonl", std::ios::app) << "{\"from\": \"ho\n\n";
  }

 private:
  std::string path_;
};

// A rollout that is vetoed 41 s after it began, one that passes, is taken back and passes again,
// and one that never has enough samples.
void fill(Log& log) {
  log.add("pay", "r1", "", Decision::Hold, 0s, Reason::InsufficientSamples);
  log.add("pay", "r1", "hold", Decision::Veto, 41s, Reason::Regressed, 1200, "p99 <is> worse");
  log.add("pay", "r2", "", Decision::Hold, 100s, Reason::InsufficientSamples);
  log.add("pay", "r2", "hold", Decision::Pass, 130s, Reason::Proven, 3000);
  log.add("pay", "r2", "pass", Decision::Hold, 140s, Reason::Stalled, 3100);
  log.add("pay", "r2", "hold", Decision::Pass, 145s, Reason::Proven, 3200);
  log.add("web", "r7", "", Decision::Hold, 50s, Reason::NoBaseline);
}

Json report_of(const std::vector<std::string>& logs, ReportOptions options = {}) {
  options.logs = logs;
  const auto report = show_report(options, {.json = true, .style = {}}, kStart + 1h);
  EXPECT_TRUE(report.has_value());
  return report ? Json::parse(report->text) : Json();
}

TEST(Report, CountsRolloutsAndTheirEnds) {
  Log log;
  fill(log);
  const Json report = report_of({log.path()});
  EXPECT_EQ(report["rollouts"], 3);
  EXPECT_EQ(report["passed"], 1);
  EXPECT_EQ(report["vetoed"], 1);
  EXPECT_EQ(report["undecided"], 1);
  EXPECT_EQ(report["rollback_rate"], 0.5);
  EXPECT_EQ(report["seconds_to_veto"]["median"], 41.0);
  EXPECT_EQ(report["seconds_to_pass"]["median"], 30.0);
  EXPECT_EQ(report["canary_requests_before_veto"], 1200.0);
  EXPECT_EQ(report["passes_taken_back"], 1);
  const Json& vetoed = report["list"][0];
  EXPECT_EQ(vetoed["rollout"], "r1");
  EXPECT_EQ(vetoed["end"], "veto");
  EXPECT_EQ(vetoed["judged_seconds"], 2.5);
  EXPECT_EQ(vetoed["message"], "p99 <is> worse");
}

TEST(Report, AddsUpHoldsByTheReasonTheyBeganWith) {
  Log log;
  fill(log);
  const Json holds = report_of({log.path()})["holds"];
  EXPECT_EQ(holds["insufficient_samples"]["times"], 2);
  EXPECT_EQ(holds["insufficient_samples"]["seconds"], 41.0 + 30.0);
  EXPECT_EQ(holds["stalled"]["seconds"], 5.0);
  EXPECT_EQ(holds["no_baseline"]["seconds"], 3600.0 - 50.0) << "it still holds";
}

TEST(Report, AVetoEndsWhatTheCanaryIsChargedWith) {
  Log log;
  fill(log);
  log.add("pay", "r1", "veto", Decision::Hold, 300s, Reason::InsufficientSamples, 99);
  EXPECT_EQ(report_of({log.path()})["canary_requests_before_veto"], 1200.0);
}

TEST(Report, OneRolloutOnTwoNodesIsOne) {
  Log here, there;
  fill(here);
  there.add("pay", "r1", "", Decision::Hold, 1s, Reason::InsufficientSamples);
  there.add("pay", "r1", "hold", Decision::Veto, 39s, Reason::Regressed, 800, "sooner");
  const Json report = report_of({here.path(), there.path() + "/audit.jsonl"});
  EXPECT_EQ(report["rollouts"], 3);
  EXPECT_EQ(report["list"][0]["seconds_to_veto"], 39.0);
  EXPECT_EQ(report["list"][0]["message"], "sooner");
  EXPECT_EQ(report["list"][0]["canary_requests"], 2000.0);
}

TEST(Report, LeavesOutWhatIsOlder) {
  Log log;
  fill(log);
  const Json report = report_of({log.path()}, {.since = 1h - 60s, .costs = {}});
  EXPECT_EQ(report["rollouts"], 1);
  EXPECT_EQ(report["list"][0]["rollout"], "r2");
}

TEST(Report, CostsAreTheReadersAlone) {
  Log log;
  fill(log);
  EXPECT_TRUE(report_of({log.path()})["cost"]["net"].is_null());
  const Json cost = report_of(
      {log.path()},
      {.since = {}, .costs = {.incident = 1000, .rollback = 50, .held_hour = 36}})["cost"];
  EXPECT_EQ(cost["incidents_avoided"], 1000.0);
  EXPECT_EQ(cost["rollbacks"], 50.0);
  EXPECT_NEAR(cost["waiting"].get<double>(), 36.26, 1e-9) << "3,626 s on hold";
  EXPECT_NEAR(cost["net"].get<double>(), 1000 - 50 - 36.26, 1e-9);
}

TEST(Report, SaysWhichLinesCannotBeRead) {
  Log log;
  fill(log);
  log.spoil();
  ReportOptions options;
  options.logs = {log.path()};
  const auto report = show_report(options, {}, kStart + 1h);
  ASSERT_TRUE(report.has_value());
  EXPECT_THAT(report->warnings, HasSubstr("1 lines"));
  EXPECT_THAT(report->text, HasSubstr("3: 1 passed, 1 vetoed, 1 neither"));
}

TEST(Report, HtmlHasNoMarkupOfOthers) {
  Log log;
  fill(log);
  log.add("<script>", "r", "", Decision::Hold, 0s, Reason::NoBaseline);
  ReportOptions options;
  options.logs = {log.path()};
  options.form = ReportForm::HtmlFile;
  const auto report = show_report(options, {}, kStart + 1h);
  ASSERT_TRUE(report.has_value());
  EXPECT_THAT(report->text, HasSubstr("p99 &lt;is&gt; worse"));
  EXPECT_THAT(report->text, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(report->text, Not(HasSubstr("<script")));
}

TEST(Report, AMissingLogIsAnErrorWithItsRemedy) {
  const Log empty;
  for (const std::string& log : {empty.path(), empty.path() + "/none.jsonl"}) {
    ReportOptions options;
    options.logs = {log};
    const auto report = show_report(options, {}, kStart);
    ASSERT_FALSE(report.has_value());
    EXPECT_THAT(report.error().error.line(), HasSubstr(log));
    EXPECT_FALSE(report.error().error.remedy.empty());
  }
}

TEST(Report, NothingHappened) {
  const Log log;
  std::ofstream(log.path() + "/audit.jsonl");
  const Json report = report_of({log.path()});
  EXPECT_EQ(report["rollouts"], 0);
  EXPECT_TRUE(report["rollback_rate"].is_null());
  EXPECT_TRUE(report["seconds_to_veto"].is_null());
}

TEST(Report, TimesAreReadAsTheyAreWritten) {
  EXPECT_EQ(to_rfc3339_ms(*parse_rfc3339("2026-11-30T10:00:00.123Z")), "2026-11-30T10:00:00.123Z");
  EXPECT_EQ(to_rfc3339(*parse_rfc3339("2026-11-30T10:00:00Z")), "2026-11-30T10:00:00Z");
  for (const char* text : {"", "2026-11-30", "2026-11-30T10:00:00", "2026-11-30T10:00:00.1Z",
                           "1969-12-31T23:59:59Z", "2201-01-01T00:00:00Z", "2026-11-30T10:00:00Zx"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}

}  // namespace
}  // namespace slogate::cli
