// The scheduler behind a runtime, for those who send work to it.
#pragma once

#include <roving/runtime.hpp>

#include "scheduler/scheduler.hpp"

namespace roving::detail {

/// What a scheduler is told; with the real seams. Throws std::invalid_argument, broken_contract.
[[nodiscard]] scheduler_options checked_options(const options& chosen);

struct runtime_access {
  [[nodiscard]] static scheduler& scheduler_of(runtime& of) noexcept { return *of.scheduler_; }

  /// With other seams than the real ones.
  [[nodiscard]] static runtime make(scheduler_options chosen);
};

}  // namespace roving::detail
