// A lock of one byte that spins. It guards wait lists and other state that is touched for a few
// instructions at a time.
//
// Never std::mutex, for three reasons. It would block the shard's thread, and with it every task that is
// pinned there. It belongs to whoever locked it, and a wait list's lock is taken by a fiber that is
// about to park, and released on the other side of the switch by whichever fiber runs then. And where
// all shards run on one thread, as in simulation, it would wait for ever.
//
// Rejected: a ticket lock (fair, but when the next in line is preempted, all wait for it).
//
// [guard]  unlock stores held_, release -> lock exchanges held_, acquire: the next holder sees all that
//          the one before it wrote.
#pragma once

#include <roving/detail/assert.hpp>
#include <roving/detail/atomic.hpp>
#include <roving/detail/relax.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

/// A spin lock; BasicLockable and Lockable, so std::scoped_lock and std::unique_lock take it.
///
/// Suspends: never, and nobody may suspend while holding it but by handing it to park().
/// Thread safety: any thread locks; any thread may unlock what another one locked.
/// Not recursive. Not fair.
template <template <class> class Atomic>
class basic_spin_lock {
 public:
  basic_spin_lock() = default;
  basic_spin_lock(const basic_spin_lock&) = delete;
  basic_spin_lock& operator=(const basic_spin_lock&) = delete;

  void lock() noexcept {
    if (!try_lock()) lock_contended();
  }

  [[nodiscard]] bool try_lock() noexcept {
    return !held_.exchange(true, std::memory_order_acquire);  // [guard]
  }

  /// A guess. Relaxed: orders nothing.
  [[nodiscard]] bool is_locked() const noexcept { return held_.load(std::memory_order_relaxed); }

  void unlock() noexcept {
    ROVING_ASSERT(held_.load(std::memory_order_relaxed));  // relaxed: our own, or handed to us
    held_.store(false, std::memory_order_release);         // [guard]
  }

 private:
  [[gnu::noinline]] void lock_contended() noexcept {
    // Looks before it tries: a failing exchange would take the cache line from the holder.
    for (unsigned iteration = 0;; ++iteration) {
      if (!held_.load(std::memory_order_relaxed) && try_lock()) return;
      relax(iteration);
    }
  }

  Atomic<bool> held_{false};
};

using spin_lock = basic_spin_lock<atomic>;
static_assert(sizeof(spin_lock) == 1);

}  // namespace roving::detail

#pragma GCC visibility pop
