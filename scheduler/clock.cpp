// The only place where a clock is read.
#include "scheduler/clock.hpp"

#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/simulator.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {
namespace detail {
namespace {

class steady_clock_source final : public clock_source {
 public:
  time_point now() noexcept override { return std::chrono::steady_clock::now(); }
};

}  // namespace

clock_source& system_clock_source() noexcept {
  static steady_clock_source source;  // has no state
  return source;
}

time_point time_after(time_point from, duration span) noexcept {
  const duration since = from.time_since_epoch();
  if (span > duration::zero() && since > duration::max() - span) return time_point::max();
  if (span < duration::zero() && since < duration::min() - span) return time_point::min();
  return from + span;
}

}  // namespace detail

time_point now() noexcept {
  detail::shard* const local = detail::this_shard();
  if (local != nullptr) return local->now();
  if (const detail::simulator* const simulated = detail::current_simulator()) return simulated->now();
  return detail::system_clock_source().now();
}

}  // namespace roving
