// A deadline as one of several things that are waited for: see <roving/select.hpp>.
#pragma once

#include <chrono>
#include <type_traits>
#include <utility>

#include <roving/detail/select_operation.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

class expiry_operation : public select_operation {
 public:
  explicit expiry_operation(time_point deadline) noexcept : deadline_{deadline} {}

  [[nodiscard]] bool try_now() final { return deadline_ <= now(); }
  [[nodiscard]] bool enlist(waiter&) noexcept final { return true; }  // who waits looks at deadline()
  [[nodiscard]] bool delist(waiter&, bool) noexcept final { return false; }
  [[nodiscard]] bool finish() final { return true; }
  [[nodiscard]] time_point deadline() const noexcept final { return deadline_; }

 private:
  const time_point deadline_;
};

}  // namespace detail

/// A time at which a select() ends, kept from one select() to the next:
///
///     timer lunch{45min};
///     while (!over) select(jobs.on_get(work), lunch.on_expiry([&] { over = true; }));
///
/// No more than a point in time: it needs no shard and nothing happens when it has come. Once it has, on_expiry() can
/// be done at once until restart(). Thread safety: as a time_point.
class timer {
 public:
  /// Expires after `span`, or at `deadline`. Errors: std::invalid_argument for a span that is no number.
  template <class Representation, class Period>
  explicit timer(std::chrono::duration<Representation, Period> span)
      : deadline_{detail::time_after(now(), detail::to_duration(span))} {}
  explicit timer(time_point deadline) noexcept : deadline_{deadline} {}

  template <class Representation, class Period>
  void restart(std::chrono::duration<Representation, Period> span) {
    *this = timer{span};
  }
  void restart(time_point deadline) noexcept { deadline_ = deadline; }

  [[nodiscard]] time_point when() const noexcept { return deadline_; }

  /// For select(): calls `f` when the time has come, never before.
  template <class Function>
  [[nodiscard]] auto on_expiry(Function&& f) const {
    return detail::select_case<detail::expiry_operation, std::decay_t<Function>>{std::forward<Function>(f), deadline_};
  }

 private:
  time_point deadline_;
};

/// A timer that begins now: `after(2s).on_expiry(f)`.
template <class Representation, class Period>
[[nodiscard]] timer after(std::chrono::duration<Representation, Period> span) {
  return timer{span};
}

}  // namespace roving

#pragma GCC visibility pop
