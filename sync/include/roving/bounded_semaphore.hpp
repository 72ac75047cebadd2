// A semaphore that never has more permits than it began with.
#pragma once

#include <cstddef>
#include <utility>

#include <roving/semaphore.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A semaphore whose release() finds out that a permit is given back twice. Not a kind of semaphore to the compiler:
/// through a `semaphore&` the check would be passed by.
///
/// Thread safety and lifetime: as semaphore.
class bounded_semaphore {
 public:
  /// `permits` to begin with, and at most. Errors: throws broken_contract if negative.
  explicit bounded_semaphore(std::ptrdiff_t permits = 1) : permits_{permits}, bound_{permits} {}

  /// As semaphore::acquire(). Suspends: unless there is a permit to take. Errors: throws cancelled, not_in_task.
  void acquire() { permits_.acquire(); }

  /// As semaphore::try_acquire(). Suspends: no. Errors: none.
  [[nodiscard]] bool try_acquire() noexcept { return permits_.try_acquire(); }

  /// As semaphore::on_acquire().
  template <class Function>
  [[nodiscard]] auto on_acquire(Function&& f) {
    return permits_.on_acquire(std::forward<Function>(f));
  }

  /// Gives `permits` back and wakes as many who wait; all of them or, on an error, none.
  ///
  /// Suspends: no. Errors: throws released_too_often if there would be more than at the beginning; broken_contract if
  /// `permits` is negative.
  void release(std::ptrdiff_t permits = 1);

  /// As semaphore::locked(). Suspends: no. Errors: none.
  [[nodiscard]] bool locked() const noexcept { return permits_.locked(); }

  /// As semaphore::value(). Suspends: no. Errors: none.
  [[nodiscard]] std::ptrdiff_t value() const noexcept { return permits_.value(); }

 private:
  semaphore permits_;
  std::ptrdiff_t bound_;
};

}  // namespace roving

#pragma GCC visibility pop
