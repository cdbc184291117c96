// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "agent/base/latest.h"
#include "agent/base/tick_time.h"
#include "agent/config/metrics_settings.h"
#include "agent/http/http_message.h"
#include "agent/snapshot.h"
#include "exporter/families.h"
#include "exporter/ledger.h"

namespace slogate {

// Answers GET /metrics, all of it or a part (?part=slos, ?part=others), and GET /healthz for
// whoever restarts what hangs. One thread ticks, another one answers, and neither waits for the
// other: what they share are immutable values.
class Exporter {
 public:
  explicit Exporter(MetricsSettings settings) { apply(std::move(settings)); }

  // On the thread that ticks, with each snapshot once and in their order.
  void tick(const Snapshot& snapshot, TickTime now);
  // On any thread.
  void apply(MetricsSettings settings);

  // On the thread that answers. `snapshot`: the latest, which may be newer than that of the last
  // tick; null before the first.
  [[nodiscard]] HttpResponse answer(const HttpRequest& request,
                                    const std::shared_ptr<const Snapshot>& snapshot);

 private:
  Latest<MetricsSettings> settings_;
  Latest<Sheet> sheet_;  // null before the first tick
  // Number of the sheet of which each part was read last.
  std::array<std::atomic<uint64_t>, kParts.size()> read_{};
  Ledger ledger_;           // of the thread that ticks
  AllScrapeStats scrapes_;  // of the thread that answers
};

}  // namespace slogate
