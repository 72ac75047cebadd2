// How plain threads exclude and wait for each other: std::mutex and std::condition_variable, but for simulated threads,
// which the simulator puts to sleep.
//
// For locks that may be held across something that lasts. Those that guard a few instructions, in which nobody can be
// stopped, are std::mutex still.
#pragma once

#include <condition_variable>
#include <mutex>

#include "scheduler/simulator.hpp"

namespace roving::detail {

class thread_mutex {
 public:
  thread_mutex() = default;
  thread_mutex(const thread_mutex&) = delete;
  thread_mutex& operator=(const thread_mutex&) = delete;

  void lock() {
    if (simulator* const simulated = current_simulator()) {
      simulated->point();
      while (is_held_) simulated->wait(this, time_point::max(), "a mutex of the library");
      is_held_ = true;
    } else {
      real_.lock();
    }
  }

  void unlock() noexcept {
    if (simulator* const simulated = current_simulator()) {
      is_held_ = false;
      simulated->wake_one(this);
    } else {
      real_.unlock();
    }
  }

 private:
  friend class thread_condition;
  std::mutex real_;
  bool is_held_ = false;  // by a simulated thread
};

class thread_condition {
 public:
  thread_condition() = default;
  thread_condition(const thread_condition&) = delete;
  thread_condition& operator=(const thread_condition&) = delete;

  template <class Predicate>
  void wait(std::unique_lock<thread_mutex>& held, Predicate is_true) {
    while (!is_true()) (void)wait_once(held, time_point::max());
  }

  /// What the predicate says in the end.
  template <class Predicate>
  bool wait_until(std::unique_lock<thread_mutex>& held, time_point deadline, Predicate is_true) {
    while (!is_true())
      if (!wait_once(held, deadline)) return is_true();
    return true;
  }

  void notify_one() noexcept {
    if (simulator* const simulated = current_simulator())
      simulated->wake_one(this);
    else
      real_.notify_one();
  }

  void notify_all() noexcept {
    if (simulator* const simulated = current_simulator())
      simulated->wake_all(this);
    else
      real_.notify_all();
  }

 private:
  // False when the time is over.
  bool wait_once(std::unique_lock<thread_mutex>& held, time_point deadline) {
    if (simulator* const simulated = current_simulator()) {
      held.mutex()->is_held_ = false;
      simulated->wake_one(held.mutex());
      const bool woken = simulated->wait(this, deadline, "a condition of the library");
      held.mutex()->lock();
      return woken;
    }
    std::unique_lock<std::mutex> real{held.mutex()->real_, std::adopt_lock};
    bool in_time = true;
    if (deadline == time_point::max())
      real_.wait(real);
    else
      in_time = real_.wait_until(real, deadline) == std::cv_status::no_timeout;
    real.release();
    return in_time;
  }

  std::condition_variable real_;
};

}  // namespace roving::detail
