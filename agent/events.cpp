// SPDX-License-Identifier: Apache-2.0
#include "agent/events.h"

#include <algorithm>

#include "maps/tables.h"

namespace slogate {

void EventBook::add(Event event) {
  event.id = next_++;
  auto longer = std::make_shared<std::deque<Event>>(*list_);
  longer->push_back(std::move(event));
  if (longer->size() > kMostEvents) longer->pop_front();
  list_ = std::move(longer);
}

void EventBook::add(const std::vector<VerdictChange>& changes) {
  for (const VerdictChange& change : changes)
    add({.time = change.time,
         .type = "verdict",
         .subject = change.now->slo,
         .from = change.from,
         .to = std::string(kDecisions[static_cast<size_t>(change.now->decision)]),
         .message = change.now->message});
}

void EventBook::add(const std::vector<BreakerChange>& changes) {
  for (const BreakerChange& change : changes)
    add({.time = change.time,
         .type = "breaker",
         .subject = change.slo,
         .from = change.open ? "closed" : "open",
         .to = change.open ? "open" : "closed",
         .message = change.message});
}

void EventBook::compare(const Snapshot& now) {
  for (const Resize& resize : now.resizes) {
    if (!first_ && resize.number > resized_)
      add({.time = resize.time,
           .type = "resize",
           .subject = resize.map,
           .from = std::to_string(resize.from),
           .to = std::to_string(resize.to),
           .message = resize.reason});
  }
  if (!now.resizes.empty()) resized_ = now.resizes.back().number;
  for (size_t site = 0; site < lost_.size(); ++site) {
    if (!first_ && now.agent.lost[site] > lost_[site])
      add({.time = now.agent.now,
           .type = "loss",
           .subject = std::string(kSites[site].name),
           .from = std::to_string(lost_[site]),
           .to = std::to_string(now.agent.lost[site]),
           .message = std::string(kSites[site].help)});
    lost_[site] = now.agent.lost[site];
  }
  if (const int step = now.agent.cpu.step; !first_ && step != step_)
    add({.time = now.agent.now,
         .type = "budget",
         .subject = "cpu",
         .from = std::to_string(step_),
         .to = std::to_string(step),
         .message = fmt::format("the agent took {:.2g} %, its programs {:.2g} % of the node's CPUs",
                                100 * now.agent.cpu.agent, 100 * now.agent.cpu.programs)});
  step_ = now.agent.cpu.step;
  first_ = false;
}

}  // namespace slogate
