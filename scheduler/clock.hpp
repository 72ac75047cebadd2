// The seam "clock": where the time comes from. Simulation gives a virtual one.
#pragma once

#include <roving/time.hpp>

namespace roving::detail {

class clock_source {
 public:
  clock_source() = default;
  clock_source(const clock_source&) = delete;
  clock_source& operator=(const clock_source&) = delete;
  virtual ~clock_source() = default;

  /// Never goes back, as far as one thread sees. Any thread.
  [[nodiscard]] virtual time_point now() noexcept = 0;
};

/// The system's monotonic clock. Lives for ever.
[[nodiscard]] clock_source& system_clock_source() noexcept;

}  // namespace roving::detail
