// A count that goes down to zero once, and those who wait for it.
#pragma once

#include <cstddef>

#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>
#include <roving/error.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A latch was counted down below zero.
class counted_too_far : public broken_contract {
 public:
  using broken_contract::broken_contract;
};

/// A count that opens the way for all when it reaches zero, and stays there.
///
/// Thread safety: any thread, on a shard or not; a plain thread blocks.
/// Lifetime: nobody may wait for it when it ends. Who comes back from wait(), or saw try_wait() be true, may destroy
/// it,
///   also while the last count_down() has yet to return elsewhere.
class latch {
 public:
  explicit constexpr latch(std::size_t count) noexcept : count_{count} {}
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;

  /// Counts down; at zero all who wait are woken in the order in which they came.
  ///
  /// Suspends: no. Errors: throws counted_too_far, and has not counted then.
  void count_down(std::size_t steps = 1);

  /// Whether the count is zero; what was done before each count_down() is seen then. Suspends: no. Errors: none.
  [[nodiscard]] bool try_wait() const noexcept;

  /// Waits until the count is zero. Suspends: unless it is. Errors: throws cancelled, not_in_task.
  void wait();

  /// count_down(steps), then wait(). After a cancel it stays counted down. Suspends and errors: as these two.
  void arrive_and_wait(std::size_t steps = 1);

 private:
  mutable detail::spin_lock lock_;
  std::size_t count_;
  detail::wait_list waiters_;
};

}  // namespace roving

#pragma GCC visibility pop
