// SPDX-License-Identifier: Apache-2.0
#include "maps/kernel_wait.h"

#include <chrono>
#include <utility>

namespace slogate {

Result<void> KernelWait::run(Call call, Finish finish) {
  if (!threads_) return finish(call());
  jobs_.push_back({std::async(std::launch::async, std::move(call)), std::move(finish)});
  return {};
}

Result<void> KernelWait::poll() {
  Result<void> first;
  for (auto job = jobs_.begin(); job != jobs_.end();) {
    if (job->outcome.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
      ++job;
      continue;
    }
    // Out of the list first: finishing may begin something new.
    Job ended = std::move(*job);
    job = jobs_.erase(job);
    if (auto done = ended.finish(ended.outcome.get()); !done && first) first = done;
  }
  return first;
}

}  // namespace slogate
