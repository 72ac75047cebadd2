// The time that roving keeps: a monotonic clock in nanoseconds, read through the runtime.
#pragma once

#include <chrono>
#include <stdexcept>

#pragma GCC visibility push(default)

namespace roving {

/// A length of time. Any std::chrono duration converts to it; what does not fit is cut to its ends.
using duration = std::chrono::nanoseconds;

/// A point in time on the monotonic clock.
using time_point = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// The time now. On a shard it is the runtime's clock, which simulation replaces; elsewhere the system's.
///
/// Suspends: no. Thread safety: any thread. Errors: none.
[[nodiscard]] time_point now() noexcept;

namespace detail {

/// `span` from now on, held at the ends of what a time_point can say instead of wrapping around.
[[nodiscard]] time_point time_after(time_point from, duration span) noexcept;

/// Any duration as nanoseconds, held at the ends of what they can say. Throws std::invalid_argument for what is no
/// number.
template <class Representation, class Period>
[[nodiscard]] constexpr duration to_duration(std::chrono::duration<Representation, Period> span) noexcept(
    !std::chrono::treat_as_floating_point_v<Representation>) {
  using seconds = std::chrono::duration<long double>;
  if constexpr (std::chrono::treat_as_floating_point_v<Representation>) {
    if (span.count() != span.count()) throw std::invalid_argument{"roving: a span of time that is not a number"};
  }
  if (seconds{span} >= seconds{duration::max()}) return duration::max();
  if (seconds{span} <= seconds{duration::min()}) return duration::min();
  return std::chrono::ceil<duration>(span);  // never early
}

[[nodiscard]] constexpr duration to_duration(duration span) noexcept { return span; }

}  // namespace detail
}  // namespace roving

#pragma GCC visibility pop
