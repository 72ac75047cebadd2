// The semaphores. The order is asyncio.Semaphore's, as of 3.13.
//
// A permit is the waiter's as soon as it is woken: release() counts it off for it. So value_ has only what nobody owns,
// and a newcomer may take of it when nobody waits and nobody who was woken has yet to run. Whoever comes back from
// waiting gives out what is left, since newcomers may have queued behind it while there were permits.
#include <limits>
#include <mutex>

#include <roving/bounded_semaphore.hpp>
#include <roving/detail/planted.hpp>
#include <roving/semaphore.hpp>

#include "sync/waiters.hpp"

namespace roving {

semaphore::semaphore(std::ptrdiff_t permits) : value_{permits}, books_{permits} {
  if (permits < 0) throw broken_contract{"a semaphore begins with no negative number of permits"};
}

// Under lock_, as all below that say nothing else.
bool semaphore::must_wait() const noexcept {
  return value_ == 0 || woken_ != 0 || detail::first_not_cancelled(waiters_) != nullptr;
}

bool semaphore::give_to_next(detail::ready_list& wakes) noexcept {
  if (!detail::wake_first(waiters_, wakes)) return false;
  --value_;
  ++woken_;
  return true;
}

void semaphore::acquire() {
  std::unique_lock guard{lock_};
  if (!must_wait()) {
    --value_;
    books_.took();
    books_.check(value_, woken_);
    return;
  }
  detail::waiter self{"semaphore::acquire"};
  waiters_.push_back(self);
  const detail::wait_end end = detail::park(self, *guard.release());

  const bool is_cancelled = end == detail::wait_end::cancelled;
  leave_line(self, !is_cancelled);
  if (is_cancelled) detail::throw_cancelled();
}

// For a waiter that came back: takes the permit that it was given, or leaves it to the next. Takes the lock itself.
void semaphore::leave_line(detail::waiter& self, bool keep) noexcept {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    detail::leave(waiters_, self);
    if (self.granted) --woken_;
    if (self.granted && keep) books_.took();
    if (self.granted && !keep && !detail::is_planted(detail::planted::semaphore_permit_lost)) ++value_;
    while (value_ > 0 && give_to_next(wakes)) {
    }
    books_.check(value_, woken_);
  }
  detail::make_ready(wakes);
}

bool semaphore::try_acquire() noexcept {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (!must_wait()) {
      --value_;
      books_.took();
      books_.check(value_, woken_);
      return true;
    }
    while (value_ > 0 && give_to_next(wakes)) {  // as who comes back from waiting does, and does not have to now
    }
  }
  detail::make_ready(wakes);
  return false;
}

void semaphore::release(std::ptrdiff_t permits) {
  if (permits < 0) throw broken_contract{"semaphore::release() gives back no negative number of permits"};
  if (!release_within(std::numeric_limits<std::ptrdiff_t>::max(), permits))
    throw broken_contract{"semaphore::release() would make more permits than can be counted"};
}

// Takes the lock itself. False when there would be more than `bound`: nothing has changed then.
bool semaphore::release_within(std::ptrdiff_t bound, std::ptrdiff_t permits) noexcept {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (permits > bound - value_) return false;
    value_ += permits;
    books_.gave(permits);
    for (std::ptrdiff_t given = 0; given < permits && give_to_next(wakes);) ++given;
    books_.check(value_, woken_);
  }
  detail::make_ready(wakes);
  return true;
}

bool detail::acquire_operation::try_now() { return of_.try_acquire(); }

bool detail::acquire_operation::enlist(waiter& self) noexcept {
  const std::scoped_lock guard{of_.lock_};
  if (!of_.must_wait()) return false;
  of_.waiters_.push_back(self);
  return true;
}

bool detail::acquire_operation::delist(waiter& self, bool keep) noexcept {
  of_.leave_line(self, keep);
  is_granted_ = self.granted;
  return is_granted_;
}

bool semaphore::locked() const noexcept {
  const std::scoped_lock guard{lock_};
  return must_wait();
}

std::ptrdiff_t semaphore::value() const noexcept {
  const std::scoped_lock guard{lock_};
  return value_;
}

void bounded_semaphore::release(std::ptrdiff_t permits) {
  if (permits < 0) throw broken_contract{"bounded_semaphore::release() gives back no negative number of permits"};
  if (!permits_.release_within(bound_, permits))
    throw released_too_often{"bounded_semaphore::release() was called more often than acquire()"};
}

}  // namespace roving
