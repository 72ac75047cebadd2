// Waiting, under a mutex, for something to become true.
#pragma once

#include <cstddef>

#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>
#include <roving/mutex.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A condition of what one mutex guards. Bound to that mutex for life, so that no call needs to name it.
///
/// Thread safety: any thread, on a shard or not, that has locked the mutex; a plain thread blocks. As a mutex has no
///   owner, what is checked is that somebody has locked it.
/// Lifetime: nobody may wait on it when it ends; it ends before its mutex.
class condition_variable {
 public:
  explicit constexpr condition_variable(mutex& guard) noexcept : mutex_{guard} {}
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  /// Unlocks the mutex, waits to be notified and locks it again. May return unnotified: look again at what is waited
  /// for.
  ///
  /// The mutex is locked when this ends, however it ends: a cancel that comes while it is being locked again is thrown
  /// after that, the last one if there are several. A waiter that is cancelled passes a notification on.
  /// Suspends: yes. Errors: throws not_locked, cancelled, not_in_task.
  void wait();

  /// Waits until `holds()` is true, which is asked with the mutex locked. Suspends: unless it is. Errors: as wait().
  template <class Predicate>
  void wait(Predicate holds) {
    while (!holds()) wait();
  }

  /// Wakes `count` of those who wait, or as many as there are, in the order in which they came. They go on when they
  /// get the mutex. Suspends: no. Errors: throws not_locked.
  void notify(std::size_t count = 1);

  void notify_one() { notify(1); }
  void notify_all() { notify(static_cast<std::size_t>(-1)); }

 private:
  void wake(std::size_t count) noexcept;

  mutex& mutex_;
  detail::spin_lock lock_;
  detail::wait_list waiters_;
};

}  // namespace roving

#pragma GCC visibility pop
