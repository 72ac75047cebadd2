// The shared mutex, built as the mutex is: who is woken takes it when it runs, and keeps its place until then.
// try_lock() passes as it does there.
//
// I1  waiting_writers_ counts the writers in waiters_.
// I2  While no writer has it, the readers at the front of the line have been woken or were cancelled; so has been a
// writer
//     at the front while nobody has it. Whoever makes room, or leaves a line that moves up, sees to that with wake().
#include <mutex>

#include <roving/shared_mutex.hpp>

#include "sync/waiters.hpp"

namespace roving {
namespace {

const char* name_of_wait(bool alone) noexcept { return alone ? "shared_mutex::lock" : "shared_mutex::lock_shared"; }

struct visitor : detail::waiter {
  explicit visitor(bool is_alone) : waiter{name_of_wait(is_alone)}, alone{is_alone} {}
  const bool alone;
  bool was_passed = false;
};

visitor& as_visitor(detail::waiter& item) noexcept { return static_cast<visitor&>(item); }

}  // namespace

bool shared_mutex::has_room(bool alone) const noexcept { return !has_writer_ && (!alone || readers_ == 0); }

void shared_mutex::take(bool alone) noexcept {
  if (alone) {
    has_writer_ = true;
    holder_.took();
  } else {
    ++readers_;
  }
}

bool shared_mutex::is_writer_next() const noexcept { return !waiters_.empty() && as_visitor(*waiters_.front()).alone; }

// Wakes the writer at the front, or all readers there.
void shared_mutex::wake(detail::ready_list& wakes) noexcept {
  for (detail::waiter* item = waiters_.front(); item != nullptr; item = item->next) {
    const bool alone = as_visitor(*item).alone;
    if (!has_room(alone) || (alone && item != waiters_.front())) return;
    if (!item->granted) detail::grant(*item, wakes);
    if (alone) return;
  }
}

bool shared_mutex::try_enter(bool alone) noexcept {
  const std::scoped_lock guard{lock_};
  if (!has_room(alone)) return false;
  if (detail::waiter* const first = detail::first_not_cancelled(waiters_)) {
    auto& passed = as_visitor(*first);
    if (alone || passed.alone) {  // a reader doesn't disturb readers
      if (passed.was_passed || readers_ != 0) return false;
      passed.was_passed = true;
    }
  }
  take(alone);
  return true;
}

void shared_mutex::enter(bool alone) {
  std::unique_lock guard{lock_};
  const bool is_first = alone ? detail::first_not_cancelled(waiters_) == nullptr : waiting_writers_ == 0;
  if (has_room(alone) && is_first) return take(alone);

  visitor self{alone};
  waiters_.push_back(self);
  if (alone) ++waiting_writers_;
  holder_.tell(self);
  detail::wait_end end = detail::park(self, *guard.release());
  guard = std::unique_lock{lock_};
  while (end != detail::wait_end::cancelled && !has_room(alone)) {
    self.begin_anew(name_of_wait(alone));  // was passed
    end = detail::park(self, *guard.release());
    guard = std::unique_lock{lock_};
  }
  waiters_.erase(self);
  if (alone) --waiting_writers_;
  if (end != detail::wait_end::cancelled) return take(alone);

  detail::ready_list wakes;
  if (alone || is_writer_next()) wake(wakes);  // the readers behind a reader are as well off as it was
  guard.unlock();
  detail::make_ready(wakes);
  detail::throw_cancelled();
}

void shared_mutex::unlock() {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (!has_writer_) throw not_locked{"shared_mutex::unlock() was called on a mutex that no writer has locked"};
    has_writer_ = false;
    holder_.gives_up();
    wake(wakes);
  }
  detail::make_ready(wakes);
}

void shared_mutex::unlock_shared() {
  detail::ready_list wakes;
  {
    const std::scoped_lock guard{lock_};
    if (readers_ == 0)
      throw not_locked{"shared_mutex::unlock_shared() was called on a mutex that no reader has locked"};
    --readers_;
    if (is_writer_next()) wake(wakes);
  }
  detail::make_ready(wakes);
}

}  // namespace roving
