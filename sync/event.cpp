// The event: a flag and those who wait for it. A waiter that was woken returns without a second look at the flag.
#include <mutex>

#include <roving/detail/planted.hpp>
#include <roving/event.hpp>

#include "sync/waiters.hpp"

namespace roving {

void event::set() noexcept {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (set_.load(std::memory_order_relaxed)) return;  // lock_ orders it
    set_.store(true, std::memory_order_release);       // [set]
    if (detail::is_planted(detail::planted::event_wakes_one))
      detail::wake_first(waiters_, wakes);
    else
      detail::wake_all(waiters_, wakes);
  }
  detail::make_ready(wakes);
}

void event::clear() noexcept {
  const std::scoped_lock guard{lock_};
  set_.store(false, std::memory_order_relaxed);  // says nothing about what was done before
}

void event::wait() {
  // Not without the lock, though is_set() would do: who returns may destroy the event, and set() is done with it only
  // when lock_ is free.
  std::unique_lock guard{lock_};
  if (set_.load(std::memory_order_relaxed)) return;
  detail::waiter self{"event::wait"};
  waiters_.push_back(self);
  const detail::wait_end end = detail::park(self, *guard.release());
  if (end != detail::wait_end::cancelled) return;
  {
    const std::scoped_lock relock{lock_};
    detail::leave(waiters_, self);
  }
  detail::throw_cancelled();
}

// With the lock, for the same reason.
bool detail::set_operation::try_now() {
  const std::scoped_lock guard{of_.lock_};
  return of_.is_set();
}

bool detail::set_operation::enlist(waiter& self) noexcept {
  const std::scoped_lock guard{of_.lock_};
  if (of_.is_set()) return false;
  of_.waiters_.push_back(self);
  return true;
}

bool detail::set_operation::delist(waiter& self, bool) noexcept {
  const std::scoped_lock guard{of_.lock_};
  leave(of_.waiters_, self);
  return self.granted;
}

std::size_t event::waiting() const noexcept {
  const std::scoped_lock guard{lock_};
  return waiters_.size();
}

}  // namespace roving
