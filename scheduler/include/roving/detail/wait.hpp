// Waiting: the one way in which a task parks, on which every primitive is built.
//
//     lock it; look; if one must wait:         whoever makes it true:
//       waiter self{"mutex::lock"};              lock it
//       waiters_.push_back(self);                if (!waiters_.empty()) grant(waiters_.front(), wakes);
//       park(self, lock_);                       unlock it
//       lock it again; waiters_.erase(self)      make_ready(wakes)
//
// park() leaves the task's stack first and unlocks afterwards, so that nobody sees a task as parked that still runs.
// Who grants claims the waiter under the lock; who lost to a cancel or a timeout finds the claim refused. The waiter
// takes itself off the list after it woke, under the lock: nobody else unlinks it.
//
// A plain thread can wait in the same way; it blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include <roving/detail/ready_node.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

/// How a wait ended. `cancelled`: throw_cancelled() after having put things right.
enum class wait_end : std::uint8_t { event, timeout, cancelled };

/// What the number beside a wait says, for reports.
enum class wait_subject : std::uint8_t {
  unknown,     // nothing
  deadline,    // when it ends at the latest, in ticks of time_point
  descriptor,  // what the system calls it
  lock         // the address of a lock_holder
};

/// Stands for a plain thread that waits.
struct waiting_thread : parkable {
  using parkable::parkable;
  void* signal = nullptr;  // while it blocks
};

/// One wait of one task or thread. Lives on its stack.
struct waiter {
  /// For the current task, or plain thread. Throws not_in_task{call} in a callback on a shard.
  explicit waiter(const char* call);
  /// For something else that is claimed as a task is: `stands_in`, which is to be armed.
  explicit waiter(parkable& stands_in) noexcept
      : who{&stands_in}, epoch{stands_in.claims.next_epoch()}, thread{ready_kind::thread} {}
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;

  /// For another wait in the same place, after one that was in vain. Before it parks.
  void begin_anew(const char* call) noexcept;

  /// Says for reports what is waited for. Before it parks.
  void tell(wait_subject what, std::int64_t value) noexcept;

  parkable* who;
  claim_word::word epoch;
  waiter* next = nullptr;
  waiter* previous = nullptr;
  bool granted = false;   // set by grant(): an event won, whatever came after it
  waiting_thread thread;  // stands for the plain thread, if it is one
};

/// Ends the wait of `self` as `who`, and adds it to `wakes` if it must be made ready. False when somebody was first.
bool claim(waiter& self, winner who, ready_list& wakes) noexcept;

/// claim() for an event: also marks the waiter as granted.
bool grant(waiter& self, ready_list& wakes) noexcept;

/// Parks the current task (blocks the current thread) until `self` is claimed; `held` is locked by the caller and is
/// unlocked once the task's stack is left. A cancel wins as soon as one is requested, unless the task is in no_cancel
/// or unwinding. `granted` may be true together with `cancelled`: what was granted must be passed on then.
[[nodiscard]] wait_end park(waiter& self, spin_lock& held) noexcept;

/// The same, until `deadline` at the latest.
[[nodiscard]] wait_end park_until(waiter& self, spin_lock& held, time_point deadline) noexcept;

/// Parks for several things at once: opens the wait, has enlist(argument) put waiters that stand for it (made from
/// *self.who) where they are found, and parks until one is claimed, at the latest until `deadline`. Claims may come
/// while enlist() is at it; if one did by its end, nothing parks. Where a cancel was pending, enlist() is not called.
[[nodiscard]] wait_end park_among(waiter& self, void (*enlist)(void*) noexcept, void* argument,
                                  time_point deadline) noexcept;

/// Parks the current task (blocks the current thread) until `deadline`. Throws not_in_task{call}.
[[nodiscard]] wait_end park_for_time(const char* call, time_point deadline);

/// As park(), for who waits for `awaited` and has `held`, its lock: a cancel is passed on to it. True when the task has
/// a cancel to throw.
[[nodiscard]] bool park_forwarding(waiter& self, spin_lock& held, class future_base& awaited) noexcept;

/// Lets everything that is ready on this shard run once. True when the task has a cancel to throw.
[[nodiscard]] bool yield_now(const char* call);

/// Throws the cancel of which the last park() told.
[[noreturn]] void throw_cancelled();

/// Doubly linked list of waiters, first come first served. Guarded by the lock of what they wait for.
class wait_list {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] waiter* front() const noexcept { return first_; }

  void push_back(waiter& item) noexcept {
    item.previous = last_;
    item.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &item;
    last_ = &item;
    ++size_;
  }

  void erase(waiter& item) noexcept {
    (item.previous != nullptr ? item.previous->next : first_) = item.next;
    (item.next != nullptr ? item.next->previous : last_) = item.previous;
    --size_;
  }

 private:
  waiter* first_ = nullptr;
  waiter* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace roving::detail

#pragma GCC visibility pop
