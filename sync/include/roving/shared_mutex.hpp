// A mutex that many may share or one may have, first come, first served.
//
// Neither readers nor writers have precedence: a reader who comes after a waiting writer waits behind it, and the
// readers next to each other in line go in together. So nobody starves. The price: a reader that locks it twice at once
// can block itself, as a writer may have come between.
#pragma once

#include <cstddef>

#include <roving/detail/lock_holder.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>
#include <roving/mutex.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A mutex for one writer or many readers. SharedLockable: std::shared_lock and std::unique_lock take it.
///
/// Has no owner: whoever unlocks it unlocks it. Not recursive, neither way.
/// Thread safety: any thread, on a shard or not; a plain thread blocks.
/// Lifetime: nobody may wait for it when it ends. Who unlocks it last may destroy it then.
class shared_mutex {
 public:
  constexpr shared_mutex() noexcept = default;
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;

  /// Locks it for one, after all who came before.
  ///
  /// Suspends: unless it is free. Errors: throws cancelled (then it is not locked by this call), not_in_task.
  void lock() { enter(true); }

  /// Locks it for one if nobody has it. It may pass those for whom it is kept, but no one twice: std::lock needs that.
  ///
  /// Suspends: no. Errors: none.
  [[nodiscard]] bool try_lock() noexcept { return try_enter(true); }

  /// Ends what lock() began, and wakes whose turn it is. Suspends: no. Errors: throws not_locked.
  void unlock();

  /// Locks it together with other readers, after the writers who came before.
  ///
  /// Suspends: while a writer has it or waits. Errors: throws cancelled (then it is not locked by this call),
  /// not_in_task.
  void lock_shared() { enter(false); }

  /// Locks it together with other readers if no writer has it or waits for readers to leave. Passes as try_lock().
  ///
  /// Suspends: no. Errors: none.
  [[nodiscard]] bool try_lock_shared() noexcept { return try_enter(false); }

  /// Ends what one lock_shared() began, and wakes whose turn it is. Suspends: no. Errors: throws not_locked.
  void unlock_shared();

 private:
  void enter(bool alone);
  bool try_enter(bool alone) noexcept;
  bool has_room(bool alone) const noexcept;
  bool is_writer_next() const noexcept;
  void take(bool alone) noexcept;
  void wake(detail::ready_list& wakes) noexcept;

  detail::spin_lock lock_;
  bool has_writer_ = false;
  std::size_t readers_ = 0;
  std::size_t waiting_writers_ = 0;
  detail::wait_list waiters_;
  [[no_unique_address]] detail::lock_holder holder_;  // the writer
};

}  // namespace roving

#pragma GCC visibility pop
