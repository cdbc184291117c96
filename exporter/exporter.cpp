// SPDX-License-Identifier: Apache-2.0
#include "exporter/exporter.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "exporter/body.h"
#include "exporter/native.h"
#include "exporter/text.h"

namespace slogate {
namespace {

template <typename SinkOfFormat>
std::pair<std::string, size_t> render(const Snapshot& snapshot, const Sheet& sheet,
                                      const MetricsSettings& settings,
                                      const AllScrapeStats& scrapes, Part part, bool gzip) {
  Body body(gzip);
  SinkOfFormat sink(body);
  write_families(snapshot, sheet, settings, scrapes, part, sink);
  return {body.finish(), sink.series()};
}

// The agent ticks once a second; a busy node may hold up some of them.
constexpr std::chrono::seconds kLatestTick{30};

// Costs nothing, as probes come often and metrics may be megabytes.
HttpResponse health(const std::shared_ptr<const Snapshot>& snapshot) {
  if (!snapshot) return error_response(503, "the first tick has not been made yet");
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  if (now - snapshot->agent.ticked > kLatestTick)
    return error_response(503, "the last tick was long ago");
  return {.content_type = "text/plain", .body = "ok\n"};
}

// A misspelt part must not read as all of it: what is there twice counts twice in the fleet's sums.
std::optional<Part> parse_part(const Pairs& query) {
  if (query.empty()) return Part::All;
  const auto part = std::ranges::find(kParts, query.front().second);
  if (query.size() > 1 || query.front().first != "part" || part == kParts.end()) return {};
  return static_cast<Part>(part - kParts.begin());
}

}  // namespace

void Exporter::tick(const Snapshot& snapshot, TickTime now) {
  const auto read = [this](Part part) { return read_[static_cast<size_t>(part)].load(); };
  sheet_.store(ledger_.tick(
      snapshot, std::max(read(Part::All), std::min(read(Part::Slos), read(Part::Others))),
      now.monotonic));
}

void Exporter::apply(MetricsSettings settings) {
  settings_.store(std::make_shared<const MetricsSettings>(std::move(settings)));
}

HttpResponse Exporter::answer(const HttpRequest& request,
                              const std::shared_ptr<const Snapshot>& snapshot) {
  const bool is_probe = request.path == "/healthz";
  if (!is_probe && request.path != "/metrics")
    return error_response(404, "metrics are at /metrics, whether the agent lives at /healthz");
  if (request.method != "GET") return method_not_allowed("GET, HEAD");
  if (is_probe) return health(snapshot);
  const auto part = parse_part(request.query);
  if (!part) return error_response(400, "the only parameter is part=slos, part=others or part=all");
  const auto sheet = sheet_.load();
  if (!snapshot || !sheet) return error_response(503, "the first tick has not been made yet");

  const auto begin = std::chrono::steady_clock::now();
  const Format format = choose_format(request.accept);
  const bool gzip = accepts_gzip(request.accept_encoding);
  const auto& make = format == Format::Native ? render<NativeSink> : render<TextSink>;
  auto [body, series] = make(*snapshot, *sheet, *settings_.load(), scrapes_, *part, gzip);
  read_[static_cast<size_t>(*part)] = sheet->number;

  ScrapeStats& stats = scrapes_[static_cast<size_t>(format)];
  ++stats.scrapes;
  stats.total += std::chrono::steady_clock::now() - begin;
  stats.last_bytes = body.size();
  stats.last_series = series;
  HttpResponse response{
      .content_type = std::string(format == Format::Native ? kNativeContentType : kTextContentType),
      .body = std::move(body),
      .headers = {{"Vary", "Accept, Accept-Encoding"}}};
  if (gzip) response.headers.emplace_back("Content-Encoding", "gzip");
  return response;
}

}  // namespace slogate
