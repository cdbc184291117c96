// SPDX-License-Identifier: Apache-2.0
#include "agent/base/work_queue.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

namespace slogate {

struct WorkQueue::Entry {
  Work work;
  std::promise<Outcome> outcome;
};

Result<WorkQueue> WorkQueue::make() {
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail(system_error("cannot create an eventfd", errno));
  return WorkQueue(std::move(wake));
}

WorkQueue::Outcome WorkQueue::run(Work work, std::chrono::milliseconds patience) {
  const auto entry = std::make_shared<Entry>(std::move(work), std::promise<Outcome>());
  std::future<Outcome> outcome = entry->outcome.get_future();
  {
    const std::scoped_lock lock(*mutex_);
    entries_.push_back(entry);
  }
  const uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof(one)) < 0 && errno != EAGAIN)
    return fail(system_error("cannot wake the agent", errno));
  if (outcome.wait_for(patience) == std::future_status::ready) return outcome.get();
  {
    const std::scoped_lock lock(*mutex_);
    if (std::erase(entries_, entry) != 0) return fail("the agent is busy", "try again");
  }
  // It was begun at the last moment, so what it did must be told.
  return outcome.get();
}

void WorkQueue::work() {
  uint64_t count = 0;
  while (::read(wake_.get(), &count, sizeof(count)) > 0) {
  }
  for (;;) {
    std::shared_ptr<Entry> entry;
    {
      const std::scoped_lock lock(*mutex_);
      if (entries_.empty()) return;
      entry = std::move(entries_.front());
      entries_.pop_front();
    }
    entry->outcome.set_value(entry->work());
  }
}

}  // namespace slogate
