// The waiting of the queues. The order is asyncio.Queue's, as of 3.13.
//
// I1  While there are items and somebody waits for one, at least one getter was woken and has not run: it takes an
// item,
//     or passes its wake-up on if it is cancelled. The same holds for free places and putters.
#include <mutex>

#include <roving/detail/planted.hpp>
#include <roving/detail/queue_core.hpp>

#include "sync/waiters.hpp"

namespace roving::detail {

void queue_core::unlock_and_wake(ready_list& wakes) noexcept {
  lock_.unlock();
  make_ready(wakes);
}

// For a waiter that a cancel took, with lock_ held: if it was woken as well, the next one tries in its place.
void queue_core::leave_cancelled(wait_list& line, waiter& self, bool next_may_try) {
  ready_list wakes;
  leave(line, self);
  if (self.granted && next_may_try && !is_planted(planted::queue_wake_lost)) wake_first(line, wakes);
  unlock_and_wake(wakes);
  throw_cancelled();
}

void queue_core::begin_put() {
  std::unique_lock guard{lock_};
  while (is_full() && !is_shut_down_) {
    waiter self{"queue::put"};
    putters_.push_back(self);
    const wait_end end = park(self, *guard.release());
    guard = std::unique_lock{lock_};
    if (end == wait_end::cancelled) {
      guard.release();
      leave_cancelled(putters_, self, !is_full());
    }
  }
  if (is_shut_down_) throw queue_shut_down{"queue::put() was called on a queue that is shut down"};
  guard.release();
}

bool queue_core::try_begin_put() {
  std::unique_lock guard{lock_};
  if (is_shut_down_) throw queue_shut_down{"queue::try_put() was called on a queue that is shut down"};
  if (is_full()) return false;
  guard.release();
  return true;
}

void queue_core::end_put() noexcept {
  ready_list wakes;
  ++size_;
  ++unfinished_;
  wake_first(getters_, wakes);
  unlock_and_wake(wakes);
}

void queue_core::abandon_put() noexcept {
  ready_list wakes;
  wake_first(putters_, wakes);  // maybe we were woken in its place
  unlock_and_wake(wakes);
}

void queue_core::begin_get() {
  std::unique_lock guard{lock_};
  while (size_ == 0) {
    if (is_shut_down_) throw queue_shut_down{"queue::get() was called on a queue that is empty and shut down"};
    waiter self{"queue::get"};
    getters_.push_back(self);
    const wait_end end = park(self, *guard.release());
    guard = std::unique_lock{lock_};
    if (end == wait_end::cancelled) {
      guard.release();
      leave_cancelled(getters_, self, size_ != 0);
    }
  }
  guard.release();
}

bool queue_core::try_begin_get() {
  std::unique_lock guard{lock_};
  if (size_ == 0) {
    if (is_shut_down_) throw queue_shut_down{"queue::try_get() was called on a queue that is empty and shut down"};
    return false;
  }
  guard.release();
  return true;
}

void queue_core::end_get() noexcept {
  ready_list wakes;
  --size_;
  wake_first(putters_, wakes);
  unlock_and_wake(wakes);
}

void queue_core::abandon_get() noexcept {
  ready_list wakes;
  wake_first(getters_, wakes);  // maybe we were woken in its place
  unlock_and_wake(wakes);
}

// Under lock_.
void queue_core::count_done(std::size_t items, ready_list& wakes) noexcept {
  unfinished_ -= items;
  if (unfinished_ == 0) wake_all(joiners_, wakes);
}

bool queue_core::enlist_putter(waiter& self) noexcept {
  const std::scoped_lock guard{lock_};
  if (!is_full() || is_shut_down_) return false;
  putters_.push_back(self);
  return true;
}

bool queue_core::delist_putter(waiter& self, bool keep) noexcept {
  ready_list wakes;
  lock_.lock();
  leave(putters_, self);
  if (self.granted && !keep && !is_full()) wake_first(putters_, wakes);
  unlock_and_wake(wakes);
  return self.granted;
}

bool queue_core::enlist_getter(waiter& self) noexcept {
  const std::scoped_lock guard{lock_};
  if (size_ != 0 || is_shut_down_) return false;
  getters_.push_back(self);
  return true;
}

bool queue_core::delist_getter(waiter& self, bool keep) noexcept {
  ready_list wakes;
  lock_.lock();
  leave(getters_, self);
  if (self.granted && !keep && size_ != 0) wake_first(getters_, wakes);
  unlock_and_wake(wakes);
  return self.granted;
}

void queue_core::task_done() {
  ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (unfinished_ == 0) throw done_too_often{"queue::task_done() was called more often than items were put"};
    count_done(1, wakes);
  }
  make_ready(wakes);
}

void queue_core::join() {
  std::unique_lock guard{lock_};
  if (unfinished_ == 0) return;
  waiter self{"queue::join"};
  joiners_.push_back(self);
  const wait_end end = park(self, *guard.release());
  if (end != wait_end::cancelled) return;
  {
    const std::scoped_lock relock{lock_};
    leave(joiners_, self);
  }
  throw_cancelled();
}

void queue_core::end_shutdown(bool items_are_gone) noexcept {
  ready_list wakes;
  is_shut_down_ = true;
  if (items_are_gone) {
    // task_done() may have been called ahead of get(), so that fewer are unfinished than there are.
    count_done(size_ < unfinished_ ? size_ : unfinished_, wakes);
    size_ = 0;
  }
  wake_all(getters_, wakes);
  wake_all(putters_, wakes);
  unlock_and_wake(wakes);
}

std::size_t queue_core::size() const noexcept {
  const std::scoped_lock guard{lock_};
  return size_;
}

}  // namespace roving::detail
