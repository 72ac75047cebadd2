// The scheduler behind a runtime, for those who send work to it.
#pragma once

#include <roving/runtime.hpp>

namespace roving::detail {

struct runtime_access {
  [[nodiscard]] static scheduler& scheduler_of(runtime& of) noexcept { return *of.scheduler_; }
};

}  // namespace roving::detail
