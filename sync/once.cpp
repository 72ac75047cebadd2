// once: idle, running or done. Who fails hands `running` over to the first who waits, so that no newcomer comes
// between.
#include <mutex>

#include <roving/once.hpp>

#include "sync/waiters.hpp"

namespace roving {

// True when the caller is to run its function; false when it was done.
bool once::begin() {
  std::unique_lock guard{lock_};
  if (phase_.load(std::memory_order_relaxed) == phase::done) return false;
  if (phase_.load(std::memory_order_relaxed) == phase::idle) {
    phase_.store(phase::running, std::memory_order_relaxed);
    return true;
  }
  detail::waiter self{"once::call"};
  waiters_.push_back(self);
  const detail::wait_end end = detail::park(self, *guard.release());

  if (end != detail::wait_end::cancelled) return !done();
  bool is_mine = false;
  {
    const std::scoped_lock relock{lock_};
    detail::leave(waiters_, self);
    is_mine = self.granted && !done();
  }
  if (is_mine) finish(false);
  detail::throw_cancelled();
}

void once::finish(bool has_succeeded) noexcept {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (has_succeeded) {
      phase_.store(phase::done, std::memory_order_release);  // [done]
      detail::wake_all(waiters_, wakes);
    } else if (!detail::wake_first(waiters_, wakes)) {
      phase_.store(phase::idle, std::memory_order_relaxed);
    }
  }
  detail::make_ready(wakes);
}

}  // namespace roving
