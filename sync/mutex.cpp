// The mutex's slow side.
//
// The order is asyncio.Lock's. unlock() frees the lock and wakes the front waiter, which takes the lock when it runs
// and keeps its place until then: while it is there no lock() passes. If it was cancelled before, nothing is woken, and
// it sees to the next one when it cleans up; so does one that was woken and then cancelled.
//
// try_lock() passes a waiter, once. Were it never to pass, std::lock, which locks one mutex and tries the other, might
// go on for ever: with enough who want both, each finds the other mutex kept for somebody who will find the first one
// kept. Were it to pass any number of times, who only tries could keep out who waits.
//
// I1  state_ has `queued` exactly when waiters_ is not empty, and changes to and from that under lock_ only. So with
//     `queued` seen under lock_, state_ is the holder of lock_'s to write; without it, a compare-exchange decides.
// I2  When the mutex is free and waiters_ is not empty, the front waiter has been woken or was cancelled: somebody
//     will run who takes the lock or wakes the next.
#include <mutex>

#include <roving/detail/planted.hpp>
#include <roving/mutex.hpp>

#include "sync/waiters.hpp"

namespace roving {
namespace {

struct locker : detail::waiter {
  using waiter::waiter;
  bool was_passed = false;
};

// Whether try_lock() may take a free mutex: nobody waits, or the first has not been passed before.
bool may_pass(const detail::wait_list& list) noexcept {
  detail::waiter* const first = detail::first_not_cancelled(list);
  return first == nullptr || !static_cast<locker*>(first)->was_passed;
}

}  // namespace

void mutex::lock_contended() {
  locker self{"mutex::lock"};
  std::unique_lock guard{lock_};
  std::uint8_t seen = state_.load(std::memory_order_relaxed);
  for (;;) {
    const bool is_free = (seen & held) == 0 &&
        (detail::first_not_cancelled(waiters_) == nullptr || detail::is_planted(detail::planted::mutex_barging));
    const auto next = static_cast<std::uint8_t>(seen | (is_free ? held : queued));
    // Acquire: pairs with the release in unlock().
    if (!state_.compare_exchange_weak(seen, next, std::memory_order_acquire, std::memory_order_relaxed)) continue;
    if (is_free) return;
    break;
  }

  waiters_.push_back(self);
  holder_.tell(self);
  detail::wait_end end = detail::park(self, *guard.release());
  guard = std::unique_lock{lock_};
  while (end != detail::wait_end::cancelled && locked()) {
    self.begin_anew("mutex::lock");  // was passed
    end = detail::park(self, *guard.release());
    guard = std::unique_lock{lock_};
  }
  waiters_.erase(self);
  const auto left = static_cast<std::uint8_t>(waiters_.empty() ? 0 : queued);
  if (end != detail::wait_end::cancelled) {
    state_.store(held | left, std::memory_order_relaxed);  // I1; lock_ orders it after the unlock
    return;
  }
  detail::ready_list wakes;
  const bool is_free = !locked();
  if (left == 0) state_.fetch_and(held, std::memory_order_release);  // on with the release in unlock()
  if (is_free && !detail::is_planted(detail::planted::mutex_cancelled_keeps_it)) wake_front(wakes);
  guard.unlock();
  detail::make_ready(wakes);
  detail::throw_cancelled();
}

bool mutex::try_lock_contended() noexcept {
  if (locked()) return false;
  const std::scoped_lock guard{lock_};
  std::uint8_t seen = state_.load(std::memory_order_relaxed);
  while ((seen & held) == 0 && may_pass(waiters_)) {
    const auto next = static_cast<std::uint8_t>(seen | held);
    // Acquire: pairs with the release in unlock().
    if (!state_.compare_exchange_weak(seen, next, std::memory_order_acquire, std::memory_order_relaxed)) continue;
    if (auto* const passed = detail::first_not_cancelled(waiters_)) static_cast<locker*>(passed)->was_passed = true;
    return true;
  }
  return false;
}

bool mutex::would_suspend() const noexcept {
  const std::scoped_lock guard{lock_};
  return locked() || detail::first_not_cancelled(waiters_) != nullptr;
}

void mutex::unlock_contended() {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (!release(wakes)) throw not_locked{"mutex::unlock() was called on a mutex that is not locked"};
  }
  detail::make_ready(wakes);
}

// unlock() without its error, for who holds lock_.
bool mutex::release(detail::ready_list& wakes) noexcept {
  holder_.gives_up();
  // Not a store: without `queued` the mutex may change under our hands.
  const auto without_held = static_cast<std::uint8_t>(~held);
  if ((state_.fetch_and(without_held, std::memory_order_release) & held) == 0) return false;
  wake_front(wakes);
  return true;
}

void mutex::wake_front(detail::ready_list& wakes) noexcept {
  detail::waiter* const first = waiters_.front();
  // One that was woken or cancelled before will run, and that is enough (I2).
  if (first != nullptr && !first->granted) detail::grant(*first, wakes);
}

}  // namespace roving
