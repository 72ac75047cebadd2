// The condition variable. The order is asyncio.Condition's, as of 3.13.
//
// A waiter is on the list before it releases the mutex, so that no notification falls between the two. Releasing wakes
// somebody, which can't be done under lock_: for that moment lock_ is open while the waiter has not parked. Who
// notifies in that moment leaves word, and the waiter does not park.
//
// lock_ is taken before the mutex's own lock, never after it.
#include <exception>
#include <mutex>

#include <roving/condition_variable.hpp>
#include <roving/detail/planted.hpp>

#include "sync/waiters.hpp"

namespace roving {
namespace {

struct sleeper : detail::waiter {
  using waiter::waiter;
  bool parks = false;
};

std::exception_ptr take_cancelled() noexcept {
  try {
    detail::throw_cancelled();
  } catch (...) {
    return std::current_exception();
  }
}

// Locks it whatever comes; the last cancel that came is put into `cancel`.
void lock_in_any_case(mutex& lock, std::exception_ptr& cancel) {
  for (;;) {
    try {
      return lock.lock();
    } catch (const cancelled&) {
      cancel = std::current_exception();
    }
  }
}

}  // namespace

void condition_variable::wait() {
  sleeper self{"condition_variable::wait"};
  detail::ready_list wakes;
  {
    const std::scoped_lock list_guard{lock_};
    const std::scoped_lock mutex_guard{mutex_.lock_};
    if (!mutex_.release(wakes)) throw not_locked{"condition_variable::wait() was called without locking the mutex"};
    waiters_.push_back(self);
  }
  detail::make_ready(wakes);

  std::unique_lock guard{lock_};
  detail::wait_end end = detail::wait_end::event;
  if (self.granted) {
    guard.unlock();
  } else {
    self.parks = true;
    end = detail::park(self, *guard.release());
  }

  std::exception_ptr cancel;
  if (end == detail::wait_end::cancelled) {
    guard = std::unique_lock{lock_};
    detail::leave(waiters_, self);
    guard.unlock();
    cancel = take_cancelled();
  }
  lock_in_any_case(mutex_, cancel);
  if (!cancel) return;
  if (!detail::is_planted(detail::planted::notification_lost))
    wake(1);  // in case the notification was ours; if not, somebody looks in vain, which is allowed
  std::rethrow_exception(cancel);
}

void condition_variable::notify(std::size_t count) {
  if (!mutex_.locked()) throw not_locked{"condition_variable::notify() was called without locking the mutex"};
  wake(count);
}

void condition_variable::wake(std::size_t count) noexcept {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    while (count > 0 && !waiters_.empty()) {
      auto& first = static_cast<sleeper&>(*waiters_.front());
      detail::unlink(waiters_, first);
      if (!first.parks) first.granted = true;
      if (!first.parks || detail::grant(first, wakes)) --count;
    }
  }
  detail::make_ready(wakes);
}

}  // namespace roving
