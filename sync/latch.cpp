// The latch. Everything happens under its lock, so that who sees it open may destroy it.
#include <mutex>

#include <roving/latch.hpp>

#include "sync/waiters.hpp"

namespace roving {

void latch::count_down(std::size_t steps) {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (steps > count_) throw counted_too_far{"latch::count_down() would go below zero"};
    count_ -= steps;
    if (count_ == 0) detail::wake_all(waiters_, wakes);
  }
  detail::make_ready(wakes);
}

bool latch::try_wait() const noexcept {
  const std::scoped_lock guard{lock_};
  return count_ == 0;
}

void latch::wait() {
  std::unique_lock guard{lock_};
  if (count_ == 0) return;
  detail::waiter self{"latch::wait"};
  waiters_.push_back(self);
  const detail::wait_end end = detail::park(self, *guard.release());
  if (end != detail::wait_end::cancelled) return;
  {
    const std::scoped_lock relock{lock_};
    detail::leave(waiters_, self);
  }
  detail::throw_cancelled();
}

void latch::arrive_and_wait(std::size_t steps) {
  count_down(steps);
  wait();
}

}  // namespace roving
