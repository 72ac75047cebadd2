// A mutual exclusion that parks the task and not its shard, first come, first served.
//
// lock() never passes those who wait, also not while the one whose turn it is has yet to run: the lock is free then,
// and kept for it. So unlock() and lock() in a row go behind everybody. The price is a switch for each hand-over.
#pragma once

#include <cstdint>

#include <roving/detail/atomic.hpp>
#include <roving/detail/lock_holder.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>
#include <roving/error.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// Something was unlocked, waited on or notified under a lock that is not locked.
class not_locked : public broken_contract {
 public:
  using broken_contract::broken_contract;
};

/// A mutex for tasks and threads. Lockable: std::scoped_lock, std::unique_lock and std::lock take it.
///
/// Has no owner: whoever calls unlock() unlocks it, a task may lock it for another one. Not recursive.
/// Thread safety: any thread, on a shard or not; a plain thread blocks.
/// Lifetime: nobody may wait for it when it ends. Who holds it may destroy it after unlocking it.
class mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  /// Locks it, after all who came before.
  ///
  /// Suspends: unless it is free. Errors: throws cancelled (then it is not locked by this call), not_in_task.
  void lock() {
    if (!take_untouched()) lock_contended();
    holder_.took();
  }

  /// Locks it if it is not locked. It may pass the one for whom it is kept, but no one twice: std::lock needs that.
  ///
  /// Suspends: no. Errors: none.
  [[nodiscard]] bool try_lock() noexcept {
    if (!take_untouched() && !try_lock_contended()) return false;
    holder_.took();
    return true;
  }

  /// Unlocks it; the first who waits is woken. Suspends: no. Errors: throws not_locked.
  void unlock() {
    holder_.gives_up();
    std::uint8_t seen = held;
    // Release: what was done under the lock is seen by who takes it next.
    if (!state_.compare_exchange_strong(seen, 0, std::memory_order_release, std::memory_order_relaxed))
      unlock_contended();
  }

  /// Whether it is locked, by whomever; news of a moment. False also while it is kept for one who was woken.
  [[nodiscard]] bool locked() const noexcept { return (state_.load(std::memory_order_relaxed) & held) != 0; }

  /// Whether lock() would suspend, since it is locked or others came before; news of a moment.
  [[nodiscard]] bool would_suspend() const noexcept;

 private:
  friend class condition_variable;

  static constexpr std::uint8_t held = 1;
  static constexpr std::uint8_t queued = 2;  // waiters_ is not empty; such a state is changed under lock_ only

  bool take_untouched() noexcept {
    std::uint8_t seen = 0;
    // Acquire: pairs with the release in unlock().
    return state_.compare_exchange_strong(seen, held, std::memory_order_acquire, std::memory_order_relaxed);
  }

  void lock_contended();
  bool try_lock_contended() noexcept;
  void unlock_contended();
  bool release(detail::ready_list& wakes) noexcept;
  void wake_front(detail::ready_list& wakes) noexcept;

  detail::atomic<std::uint8_t> state_{0};
  mutable detail::spin_lock lock_;
  detail::wait_list waiters_;
  [[no_unique_address]] detail::lock_holder holder_;
};

}  // namespace roving

#pragma GCC visibility pop
