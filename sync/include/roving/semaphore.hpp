// A count of permits, given first come, first served.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include <roving/detail/permit_books.hpp>
#include <roving/detail/select_operation.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>
#include <roving/error.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A bounded semaphore was released more often than it was acquired.
class released_too_often : public broken_contract {
 public:
  using broken_contract::broken_contract;
};

class semaphore;

namespace detail {

class acquire_operation : public select_operation {
 public:
  explicit acquire_operation(semaphore& of) noexcept : of_{of} {}
  [[nodiscard]] bool try_now() final;
  [[nodiscard]] bool enlist(waiter& self) noexcept final;
  [[nodiscard]] bool delist(waiter& self, bool keep) noexcept final;
  [[nodiscard]] bool finish() final { return is_granted_ || try_now(); }

 private:
  semaphore& of_;
  bool is_granted_ = false;
};

}  // namespace detail

/// A number of permits: acquire() takes one and waits for it if there is none, release() gives one back.
///
/// A newcomer never passes those who wait, also not while one that was woken has yet to run. A waiter that is cancelled
/// leaves its permit to the next.
/// Thread safety: any thread, on a shard or not; a plain thread blocks.
/// Lifetime: nobody may wait for it when it ends.
class semaphore {
 public:
  /// `permits` to begin with. Errors: throws broken_contract if negative.
  explicit semaphore(std::ptrdiff_t permits = 1);
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;

  /// Takes a permit, after all who came before.
  ///
  /// Suspends: unless there is one to take. Errors: throws cancelled (then none is taken), not_in_task.
  void acquire();

  /// Takes a permit if acquire() would not suspend. Suspends: no. Errors: none.
  [[nodiscard]] bool try_acquire() noexcept;

  /// For select(): takes a permit, after all who came before, and calls `f`.
  template <class Function>
  [[nodiscard]] auto on_acquire(Function&& f) {
    return detail::select_case<detail::acquire_operation, std::decay_t<Function>>{std::forward<Function>(f), *this};
  }

  /// Gives `permits` back and wakes as many who wait. Suspends: no. Errors: throws broken_contract if negative.
  void release(std::ptrdiff_t permits = 1);

  /// Whether acquire() would suspend now. Suspends: no. Errors: none.
  [[nodiscard]] bool locked() const noexcept;

  /// The permits that nobody has; those kept for waiters that were woken are not among them. Suspends: no. Errors:
  /// none.
  [[nodiscard]] std::ptrdiff_t value() const noexcept;

 private:
  friend class bounded_semaphore;
  friend class detail::acquire_operation;

  bool must_wait() const noexcept;
  bool give_to_next(detail::ready_list& wakes) noexcept;
  void leave_line(detail::waiter& self, bool keep) noexcept;
  bool release_within(std::ptrdiff_t bound, std::ptrdiff_t permits) noexcept;

  mutable detail::spin_lock lock_;
  std::ptrdiff_t value_;
  std::size_t woken_ = 0;  // have a permit, and have not run yet
  detail::wait_list waiters_;
  [[no_unique_address]] detail::permit_books books_;
};

}  // namespace roving

#pragma GCC visibility pop
