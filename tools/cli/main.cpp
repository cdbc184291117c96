// SPDX-License-Identifier: Apache-2.0
// The node-local client: arguments to commands.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <thread>

#include "agent/base/units.h"
#include "maps/tables.h"
#include "tools/cli/cgroups.h"
#include "tools/cli/doctor.h"
#include "tools/cli/events.h"
#include "tools/cli/hist.h"
#include "tools/cli/live.h"
#include "tools/cli/maps.h"
#include "tools/cli/probes.h"
#include "tools/cli/report.h"
#include "tools/cli/rules.h"
#include "tools/cli/terminal.h"
#include "tools/cli/verdicts.h"

namespace slogate::cli {
namespace {

struct Arguments {
  std::string socket = "/run/slogate/agent.sock";
  Output output;
  std::string pattern, cgroup, other, map, signal = "request";
  uint64_t entries = 0;
  TopOptions top;
  std::string slo;
  GateOptions gate{.slo = {}, .timeout = std::chrono::minutes(10)};
  bool follow = false;
  RulesOptions rules;
  ReportOptions report;
};

using Command = std::function<Outcome<Report>()>;

Fetch fetch_from(const Arguments& arguments, std::chrono::milliseconds timeout = kPatience) {
  return [&arguments, timeout](const std::string& target) {
    return get(arguments.socket, target, timeout);
  };
}

// A change waits until the agent is between two ticks, and for running programs to end.
Post post_to(const Arguments& arguments) {
  return [&arguments](const std::string& target, const Json& body) {
    return post(arguments.socket, target, body, std::chrono::seconds(30));
  };
}

bool print(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
         std::fflush(stdout) == 0;
}

Outcome<Report> top(const Arguments& arguments) {
  const bool live = window_size() && !arguments.output.json && !arguments.top.frames;
  // A terminal that does not answer to Ctrl-C is worse than one attempt too few.
  if (live) return watch_top(fetch_from(arguments, std::chrono::seconds(2)), arguments.top);
  return print_top(
      fetch_from(arguments), arguments.top, arguments.output,
      [](std::chrono::milliseconds pause) { std::this_thread::sleep_for(pause); }, print);
}

void add_top(CLI::App& app, Arguments& arguments, Command& command) {
  CLI::App* sub = app.add_subcommand("top", "Workloads by request rate, refreshed in place");
  sub->add_option_function<double>(
         "--interval",
         [&](double seconds) {
           arguments.top.interval = std::chrono::milliseconds(std::lround(seconds * 1000));
         },
         "Seconds between two looks, 2 unless told")
      ->check(CLI::Range(0.1, 3600.0).description(""))
      ->type_name("SECONDS");
  CLI::Option* frames = sub->add_option("-n", arguments.top.frames, "Print N intervals and end")
                            ->check(CLI::Range(1, 1'000'000).description(""))
                            ->type_name("N");
  sub->add_flag_callback(
         "--once", [&] { arguments.top.frames = 1; }, "Print one interval and end")
      ->excludes(frames);
  sub->callback([&] { command = [&] { return top(arguments); }; });
}

void add_hist(CLI::App& app, Arguments& arguments, Command& command) {
  std::vector<std::string> names;
  names.reserve(kSignals.size());
  for (const SignalInfo& signal : kSignals) names.emplace_back(signal.name);
  CLI::App* sub =
      app.add_subcommand("hist", "One latency histogram, or two over each other, drawn");
  sub->add_option("cgroup", arguments.cgroup, "An id, a path, or a glob that matches one cgroup")
      ->required()
      ->type_name("CGROUP");
  sub->add_option("other", arguments.other, "Another one, to be drawn over it")
      ->type_name("CGROUP");
  sub->add_option("--signal", arguments.signal,
                  fmt::format("Which latency: {}; request unless told", fmt::join(names, ", ")))
      ->check(CLI::IsMember(names).description(""))
      ->type_name("SIGNAL");
  sub->callback([&] {
    command = [&] {
      const Fetch fetch = fetch_from(arguments);
      if (!arguments.other.empty())
        return show_two_histograms(fetch, arguments.cgroup, arguments.other, arguments.signal,
                                   arguments.output);
      return show_histogram(fetch, arguments.cgroup, arguments.signal, arguments.output);
    };
  });
}

void add_tables(CLI::App& app, Arguments& arguments, Command& command) {
  CLI::App* cgroups = app.add_subcommand("cgroups", "Every cgroup that used TCP");
  cgroups->add_option("pattern", arguments.pattern, "A glob over paths: /kubepods.slice/**")
      ->type_name("PATTERN");
  cgroups->callback([&] {
    command = [&] {
      return show_cgroups(fetch_from(arguments), arguments.pattern, arguments.output);
    };
  });
  app.add_subcommand("probes", "The BPF programs, attached or why not, and their cost")
      ->callback(
          [&] { command = [&] { return show_probes(fetch_from(arguments), arguments.output); }; });
  app.add_subcommand("doctor", "What this host offers and lacks, and the remedy; needs no agent")
      ->callback([&] {
        command = [&] {
          return show_doctor(inspect_host({}), fetch_from(arguments), arguments.output);
        };
      });
}

void add_maps(CLI::App& app, Arguments& arguments, Command& command) {
  CLI::App* maps = app.add_subcommand("maps", "The BPF maps, how full they are, what lies in them");
  maps->add_option("name", arguments.map, "Show the entries of this map")->type_name("NAME");
  CLI::App* resize = maps->add_subcommand("resize", "Grow or shrink a map by hand; needs root");
  resize->add_option("name", arguments.map, "slogate_slab or slogate_index")
      ->required()
      ->type_name("NAME");
  resize
      ->add_option("--entries", arguments.entries,
                   "How many it should have room for; 0: as the agent thinks fit")
      ->required()
      ->type_name("N");
  resize->callback([&] {
    command = [&] {
      return resize_map(post_to(arguments), arguments.map, arguments.entries, arguments.output);
    };
  });
  maps->callback([&, resize] {
    if (resize->parsed()) return;
    command = [&] {
      return arguments.map.empty()
                 ? show_maps(fetch_from(arguments), arguments.output)
                 : show_map(fetch_from(arguments), arguments.map, arguments.output);
    };
  });
}

void sleep_for(std::chrono::milliseconds pause) {
  std::this_thread::sleep_for(pause);
}

// Whatever goes wrong must not end with the code of a veto: neither a log that takes no more, nor
// one that is closed.
Outcome<Report> gate(const Arguments& arguments) {
  std::signal(SIGPIPE, SIG_IGN);
  auto options = arguments.gate;
  options.quiet = options.quiet || arguments.output.json;  // who reads JSON may read both streams
  auto outcome = guarded([&] {
    return pass_gate(fetch_from(arguments), options, arguments.output, sleep_for, say_aside);
  });
  if (outcome) outcome->exit_is_answer = true;
  if (!outcome && outcome.error().exit == kFailed) outcome.error().exit = kUnreachable;
  return outcome;
}

void add_gate(CLI::App& app, Arguments& arguments, Command& command) {
  CLI::App* sub = app.add_subcommand("gate", "May the canary go on? 0 pass, 1 veto, 2 hold");
  sub->add_option("slo", arguments.gate.slo, "Its name")->required()->type_name("SLO");
  sub->add_flag("--wait", arguments.gate.wait, "Wait while it is hold");
  sub->add_option_function<std::string>(
         "--timeout",
         [&](const std::string& text) {
           const auto duration = parse_duration(text);
           if (!duration) throw CLI::ValidationError("--timeout", duration.error().line());
           arguments.gate.timeout = *duration;
         },
         "Of the wait, 10m unless told")
      ->type_name("DURATION");
  sub->add_flag("--explain", arguments.gate.explain,
                "Print what each objective needs for a pass: samples, and time at this rate");
  sub->add_flag("-q,--quiet", arguments.gate.quiet, "No lines of progress while it waits");
  sub->callback([&] {
    // A log keeps every line.
    if (::isatty(STDERR_FILENO) == 1) arguments.gate.pace = std::chrono::seconds(3);
    command = [&] { return gate(arguments); };
  });
}

void add_verdicts(CLI::App& app, Arguments& arguments, Command& command) {
  app.add_subcommand("slos", "What canaries are held to")->callback([&] {
    command = [&] { return show_slos(fetch_from(arguments), arguments.output); };
  });
  CLI::App* verdict = app.add_subcommand("verdict", "The evidence for and against each canary");
  verdict->add_option("slo", arguments.slo, "Of this one only, in detail")->type_name("SLO");
  verdict->callback([&] {
    command = [&] { return show_verdicts(fetch_from(arguments), arguments.slo, arguments.output); };
  });
  CLI::App* reset = app.add_subcommand("reset", "Begin a new rollout of an SLO; needs root");
  reset->add_option("slo", arguments.slo, "Its name")->required()->type_name("SLO");
  reset->callback([&] {
    command = [&] {
      return reset_slo(fetch_from(arguments), post_to(arguments), arguments.slo, arguments.output);
    };
  });
  CLI::App* breaker = app.add_subcommand(
      "breaker", "Refuse new connections to a canary by hand, or accept them; needs root");
  breaker->require_subcommand(1);
  const auto add_breaker = [&](const char* name, const char* help, bool open) {
    CLI::App* sub = breaker->add_subcommand(name, help);
    sub->add_option("slo", arguments.slo, "Its name")->required()->type_name("SLO");
    sub->callback([&, open] {
      command = [&, open] {
        return set_breaker(fetch_from(arguments), post_to(arguments), arguments.slo, open,
                           arguments.output);
      };
    });
  };
  add_breaker("open", "Refuse, for as long as a veto would", true);
  add_breaker("close", "Accept, for the rest of this rollout", false);
  CLI::App* events = app.add_subcommand(
      "events", "Verdicts that changed, breakers, resizes, losses, steps of the CPU budget");
  events->add_flag("--follow", arguments.follow, "Go on until Ctrl-C");
  events->callback([&] {
    command = [&] {
      const auto fetch = [&](const std::string& target) {
        return get_text(arguments.socket, target);
      };
      return show_events(fetch, arguments.follow, arguments.output, sleep_for, print);
    };
  });
}

void add_rules(CLI::App& app, Arguments& arguments, Command& command) {
  CLI::App* sub = app.add_subcommand(
      "rules", "Prometheus rules that judge the SLOs over all nodes; needs no agent");
  const CLI::Option* config =
      sub->add_option("--config", arguments.rules.config, "The agents' configuration")
          ->type_name("FILE")
          ->capture_default_str();
  sub->add_option("--workloads", arguments.rules.workloads,
                  "Workloads with SLOs in their pods' annotations, as `kubectl get deployments -A "
                  "-o json` prints them, \"-\" for standard input; the configuration is then read "
                  "only if it is named")
      ->type_name("FILE");
  sub->add_option_function<std::string>(
         "--interval",
         [&](const std::string& text) {
           const auto interval = parse_duration(text);
           if (!interval) throw CLI::ValidationError("--interval", interval.error().line());
           if (*interval < kShortestRule || *interval > kLongestRule)
             throw CLI::ValidationError("--interval", "must be between 1s and 2m");
           arguments.rules.interval = std::chrono::ceil<std::chrono::milliseconds>(*interval);
         },
         "Of evaluation, not below that of scrapes; 30s unless told")
      ->type_name("DURATION");
  sub->callback([&, config] {
    if (!arguments.rules.workloads.empty() && config->empty()) arguments.rules.config.clear();
    command = [&] { return show_rules(arguments.rules, arguments.output); };
  });
}

// parse_duration() as well as days: "7d".
std::chrono::nanoseconds parse_span(const std::string& text) {
  if (text.ends_with('d')) {
    int days = 0;
    const char* const end = text.data() + text.size() - 1;
    const auto done = std::from_chars(text.data(), end, days);
    if (done.ec == std::errc() && done.ptr == end && days > 0 && days <= 3650)
      return std::chrono::days(days);
    throw CLI::ValidationError("--since", "days are a whole number up to 3650: 7d");
  }
  const auto span = parse_duration(text);
  if (!span) throw CLI::ValidationError("--since", span.error().line());
  return *span;
}

void add_report(CLI::App& app, Arguments& arguments, Command& command) {
  CLI::App* sub =
      app.add_subcommand("report", "What became of rollouts, from the audit log; needs no agent");
  ReportOptions& options = arguments.report;
  sub->add_option("log", options.logs,
                  "State directories or files of an audit log, one for each node; "
                  "/var/lib/slogate unless told")
      ->type_name("LOG");
  sub->add_option_function<std::string>(
         "--since", [&](const std::string& text) { options.since = parse_span(text); },
         "How far back: 24h, 7d; all there is unless told")
      ->type_name("DURATION");
  sub->add_option_function<std::string>(
         "-o",
         [&](const std::string& form) {
           options.form = form == "html"   ? ReportForm::HtmlFile
                          : form == "json" ? ReportForm::JsonText
                                           : ReportForm::Table;
         },
         "How to print: text, json, html")
      ->check(CLI::IsMember({"text", "json", "html"}).description(""))
      ->type_name("FORMAT");
  const auto cost = [&](const char* name, std::optional<double>& to, const char* help) {
    sub->add_option_function<double>(
           name, [&to](double value) { to = value; }, help)
        ->check(CLI::Range(0.0, 1e12).description(""))
        ->type_name("COST");
  };
  cost("--incident-cost", options.costs.incident, "Of a bad release that reaches all users");
  cost("--rollback-cost", options.costs.rollback, "Of a release that is rolled back");
  cost("--hold-cost", options.costs.held_hour, "Of an hour in which a rollout waits");
  sub->callback([&] {
    command = [&] {
      return show_report(options, arguments.output, std::chrono::system_clock::now());
    };
  });
}

void add_globals(CLI::App& app, Arguments& arguments) {
  app.set_version_flag("--version", std::string(SLOGATE_VERSION));
  app.add_option("--socket", arguments.socket, "The agent's socket")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_option_function<std::string>(
         "-o", [&](const std::string& format) { arguments.output.json = format == "json"; },
         "How to print: table, json")
      ->check(CLI::IsMember({"table", "json"}).description(""))
      ->type_name("FORMAT");
  // Global options may stand behind the command as well.
  app.fallthrough();
  app.footer(
      "Exit: 0; 1 failed (doctor: unusable; gate: veto); 2 gate: hold; 3 agent unreachable; "
      "64 usage.");
}

// A file or socket that is opened later must not become one of the three.
void open_standard_files() {
  int opened = 0;
  do opened = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  while (opened >= 0 && opened <= STDERR_FILENO);
  if (opened > STDERR_FILENO) ::close(opened);
}

}  // namespace
}  // namespace slogate::cli

int main(int argc, char** argv) {
  using namespace slogate::cli;
  open_standard_files();
  Arguments arguments;
  Command command;
  CLI::App app("What slogate measures on this node.", "slogate");
  add_globals(app, arguments);
  add_top(app, arguments, command);
  add_tables(app, arguments, command);
  add_maps(app, arguments, command);
  add_hist(app, arguments, command);
  add_verdicts(app, arguments, command);
  add_gate(app, arguments, command);
  add_rules(app, arguments, command);
  add_report(app, arguments, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  if (!command) {
    fmt::print(stderr, "slogate: name a command\n{}", app.help());
    return kUsage;
  }
  arguments.output.style = detect_style();
  return finish(guarded(command));
}
