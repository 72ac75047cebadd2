// See wait.hpp; the claim word has the races.
#include <roving/detail/wait.hpp>

#include <mutex>
#include <utility>

#include <roving/detail/assert.hpp>
#include <roving/detail/future_base.hpp>
#include <roving/detail/lock_holder.hpp>
#include <roving/detail/permit_books.hpp>
#include <roving/detail/planted.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>

#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/simulator.hpp"
#include "scheduler/this_shard.hpp"
#include "scheduler/thread_wait.hpp"
#include "scheduler/wait_parts.hpp"

namespace roving::detail {
namespace {

task_base& as_task(parkable& node) noexcept { return static_cast<task_base&>(node); }

// A park that refused because a cancel was pending ends as if the cancel had claimed it, one generation later.
void end_by_mark(task_base& task) noexcept {
  {
    const std::lock_guard guard{task.lock()};
    task.claims.end_by_mark();
    if (task.extras) task.extras->delivered = task.extras->marked;
  }
  make_ready(task);
}

// What is left to do for a task that has left its stack. Lies on that stack: nothing of it is read once the task is
// armed and its lock released.
struct departure {
  task_base* task;
  spin_lock* held;
  wait_mode mode;
  future_base* awaited;
};

void arm(void* argument) noexcept {
  const departure leaving = *static_cast<departure*>(argument);
  const bool armed = leaving.task->claims.arm(leaving.mode);
  leaving.held->unlock();
  if (!armed) end_by_mark(*leaving.task);
}

// As above for a wait that passes cancels on. Until the lock is released the task can't wake, so that what it awaits is
// there. A mark that is found here goes to what is awaited; if that is done, it stays with the task.
void arm_forwarding(void* argument) noexcept {
  const departure leaving = *static_cast<departure*>(argument);
  const bool armed = leaving.task->claims.arm(wait_mode::forwards);
  ROVING_ASSERT(armed);
  if (!leaving.task->claims.is_pending()) {
    leaving.held->unlock();
    return;
  }
  leaving.task->add_reference();
  leaving.awaited->add_reference();
  leaving.task->claims.pin();  // so that it does not go on, and even end, before the mark is back
  leaving.held->unlock();
  pass_on_mark(*leaving.task, *leaving.awaited);
  leaving.task->claims.unpin();
  leaving.awaited->release();
  leaving.task->release();
}

[[gnu::noinline]] void send_pinned_elsewhere(ready_node& node, shard& home, const shard* here) noexcept {
  if (here != nullptr && &here->owner() == &home.owner()) {
    home.receive(node);
  } else {  // what we send may run at once, and be the last of its runtime, which must not end while we are at it
    const gate_pass inside{home.door()};
    ROVING_ASSERT(inside);
    home.receive(node);
  }
}

[[gnu::noinline]] void send_roving(task_base& task, shard& home, shard* here) noexcept {
  if (here != nullptr && &here->owner() == &home.owner()) return here->push_woken(task);
  const gate_pass inside{home.door()};
  ROVING_ASSERT(inside);
  scheduler& owner = home.owner();
  owner.overflow().push(task);
  if (is_planted(planted::roving_without_call)) return;
  if (owner.idle().should_call()) owner.call_searcher(home.index());
}

// `here`: this_shard().
inline void send(ready_node& node, shard* here) noexcept {
  shard* home = nullptr;
  switch (node.kind) {
    case ready_kind::task: {
      auto& task = static_cast<task_base&>(static_cast<parkable&>(node));
      if (task.roving) return send_roving(task, *task.home, here);
      home = task.home;
      break;
    }
    case ready_kind::posted:
      home = static_cast<posted_callback&>(node).home;
      break;
    case ready_kind::thread:
    case ready_kind::direct:
      return node.run(node);
  }
  if (here == home)
    here->append(node);
  else
    send_pinned_elsewhere(node, *home, here);
}

void commit(void* argument) noexcept {
  task_base& task = *static_cast<task_base*>(argument);
  if (!task.claims.commit()) make_ready(task);  // claimed on the way
}

bool take_pending(task_base& task) noexcept {
  if (!task.claims.is_pending()) return false;
  const std::lock_guard guard{task.lock()};
  if (!task.claims.take_pending()) return false;
  if (task.extras) task.extras->delivered = task.extras->marked;
  return true;
}

// Back on its stack: what ended the wait, once nobody reads any more what it waited for.
wait_end settle(task_base& task, bool masked) noexcept {
  const winner who = task.claims.settled();
  task.waits_in.store(nullptr, std::memory_order_relaxed);
  if (who == winner::cancel) {
    if (!is_planted(planted::second_cancel_thrown_twice))
      task.claims.take_pending();  // a second cancel before the first was thrown is the same throw
    return wait_end::cancelled;
  }
  if (!masked && take_pending(task)) return wait_end::cancelled;
  return who == winner::timeout ? wait_end::timeout : wait_end::event;
}

// Parks a task whose wait is open.
void park_open(task_base& task, shard& here, waiter& self, time_point deadline) noexcept {
  if (deadline == time_point::max()) {
    here.leave(&commit, &task);
  } else if (task.roving) {
    roving_timer timer{self, winner::timeout};
    here.set_timer(timer, deadline);
    here.leave(&commit, &task);
    here.cancel_timer(timer);  // of the shard where it was set, wherever this is now
  } else {
    struct timeout : pinned_timer {
      explicit timeout(waiter& who) noexcept
          : pinned_timer{[](pinned_timer& timer) noexcept {
              ready_list wakes;
              claim(*static_cast<timeout&>(timer).waits, winner::timeout, wakes);
              make_ready(wakes);
            }},
            waits{&who} {}
      waiter* waits;
    } timer{self};
    here.set_timer(timer, deadline);
    here.leave(&commit, &task);
    here.cancel_timer(timer);
  }
}

}  // namespace

waiter::waiter(const char* call) : thread{ready_kind::thread, &wake_thread} {
  shard* const here = this_shard();
  if (here == nullptr) {
    who = &thread;
  } else {
    task_base* const task = here->current();
    if (task == nullptr) throw not_in_task{call};
    task->waits_in.store(call, std::memory_order_relaxed);
    task->waits_for = wait_subject::unknown;
    who = task;
  }
  epoch = who->claims.next_epoch();
}

void waiter::begin_anew(const char* call) noexcept {
  epoch = who->claims.next_epoch();
  granted = false;
  if (who->kind == ready_kind::task) as_task(*who).waits_in.store(call, std::memory_order_relaxed);
}

void waiter::tell(wait_subject what, std::int64_t value) noexcept {
  if (who->kind != ready_kind::task) return;
  task_base& task = as_task(*who);
  task.waits_for = what;
  task.waits_for_value = value;
}

#if defined(ROVING_SIMULATION)
void permit_books::check(std::ptrdiff_t there, std::size_t on_their_way) const noexcept {
  simulator* const simulated = current_simulator();
  if (simulated != nullptr && given_ - taken_ != there + static_cast<std::ptrdiff_t>(on_their_way))
    simulated->broken("a semaphore has lost or doubled a permit");
}

void lock_holder::took() noexcept {
  const task_base* const task = current_task();
  task_.store(task != nullptr ? task->number : 0, std::memory_order_relaxed);
}
#endif

bool claim(waiter& self, winner how, ready_list& wakes) noexcept {
  parkable& who = *self.who;
  const claim_result result = who.claims.claim(self.epoch, how);
  if (result == claim_result::won) wakes.push(who);
  return result != claim_result::lost;
}

bool grant(waiter& self, ready_list& wakes) noexcept {
  parkable& who = *self.who;
  // Written before the claim publishes it. A waiter whose claim is lost reads it under the lock under which grants are
  // made.
  const bool before = std::exchange(self.granted, true);
  const claim_result result = who.claims.claim(self.epoch, winner::event);
  if (result == claim_result::lost) {
    self.granted = before;
    return false;
  }
  if (result == claim_result::won) wakes.push(who);
  return true;
}

wait_end park(waiter& self, spin_lock& held) noexcept {
  if (self.who == &self.thread) {
    block_thread(self, held, time_point::max());
    return wait_end::event;
  }
  task_base& task = as_task(*self.who);
  shard& here = *this_shard();
  const bool masked = is_masked(here, task);
  departure leaving{&task, &held, masked ? wait_mode::masked : wait_mode::claimable, nullptr};
  if (is_planted(planted::unlock_before_leaving)) {
    held.unlock();
    held.lock();  // what arm() unlocks
  }
  here.leave(&arm, &leaving);
  return settle(task, masked);
}

wait_end park_until(waiter& self, spin_lock& held, time_point deadline) noexcept {
  if (deadline == time_point::max()) return park(self, held);
  if (self.who == &self.thread) return block_thread(self, held, deadline);
  task_base& task = as_task(*self.who);
  shard& here = *this_shard();
  const bool masked = is_masked(here, task);
  self.tell(wait_subject::deadline, deadline.time_since_epoch().count());
  if (!task.claims.prepare(masked ? wait_mode::masked : wait_mode::claimable)) {
    held.unlock();
    here.leave([](void* who) noexcept { end_by_mark(*static_cast<task_base*>(who)); }, &task);
    return settle(task, masked);
  }
  held.unlock();
  park_open(task, here, self, deadline);
  return settle(task, masked);
}

wait_end park_among(waiter& self, void (*enlist)(void*) noexcept, void* argument, time_point deadline) noexcept {
  if (self.who == &self.thread) return block_thread_among(self, enlist, argument, deadline);
  task_base& task = as_task(*self.who);
  shard& here = *this_shard();
  const bool masked = is_masked(here, task);
  if (deadline != time_point::max()) self.tell(wait_subject::deadline, deadline.time_since_epoch().count());
  if (!task.claims.prepare(masked ? wait_mode::masked : wait_mode::claimable)) {
    here.leave([](void* who) noexcept { end_by_mark(*static_cast<task_base*>(who)); }, &task);
    return settle(task, masked);
  }
  enlist(argument);
  // What was true already is taken without a suspension, so that a cancel that is pending waits for the next one.
  if (!task.claims.is_open()) return settle(task, true);
  park_open(task, here, self, deadline);
  return settle(task, masked);
}

wait_end park_for_time(const char* call, time_point deadline) {
  waiter self{call};
  spin_lock nothing;
  if (self.who == &self.thread) {
    nothing.lock();
    return block_thread(self, nothing, deadline);
  }
  task_base& task = as_task(*self.who);
  shard& here = *this_shard();
  const bool masked = is_masked(here, task);
  self.tell(wait_subject::deadline, deadline.time_since_epoch().count());
  if (task.roving) {
    if (!task.claims.prepare(masked ? wait_mode::masked : wait_mode::claimable)) {
      here.leave([](void* who) noexcept { end_by_mark(*static_cast<task_base*>(who)); }, &task);
      return settle(task, masked);
    }
    roving_timer timer{self, winner::event};
    here.set_timer(timer, deadline);
    here.leave(&commit, &task);
    here.cancel_timer(timer);
    return settle(task, masked);
  }
  struct alarm : pinned_timer {
    explicit alarm(waiter& who) noexcept
        : pinned_timer{[](pinned_timer& timer) noexcept {
            ready_list wakes;
            grant(*static_cast<alarm&>(timer).waits, wakes);
            make_ready(wakes);
          }},
          waits{&who} {}
    waiter* waits;
  } timer{self};
  here.set_timer(timer, deadline);
  nothing.lock();
  departure leaving{&task, &nothing, masked ? wait_mode::masked : wait_mode::claimable, nullptr};
  here.leave(&arm, &leaving);
  here.cancel_timer(timer);
  return settle(task, masked);
}

bool park_forwarding(waiter& self, spin_lock& held, future_base& awaited) noexcept {
  if (self.who == &self.thread) {
    block_thread(self, held, time_point::max());
    return false;
  }
  task_base& task = as_task(*self.who);
  shard& here = *this_shard();
  const bool masked = is_masked(here, task);
  departure leaving{&task, &held, wait_mode::masked, &awaited};
  task.awaits = &awaited;
  here.leave(masked ? &arm : &arm_forwarding, &leaving);
  const wait_end end = settle(task, masked);
  task.awaits = nullptr;
  return end == wait_end::cancelled;
}

bool yield_now(const char* call) {
  shard* here = this_shard();
  task_base* const task = here != nullptr ? here->current() : nullptr;
  if (task == nullptr) throw not_in_task{call};
  const bool masked = is_masked(*here, *task);
  here->yield();
  return !masked && take_pending(*task);
}

bool take_pending_cancel() noexcept {
  shard* const here = this_shard();
  task_base* const task = here != nullptr ? here->current() : nullptr;
  return task != nullptr && !is_masked(*here, *task) && take_pending(*task);
}

void pass_on_mark(task_base& task, future_base& awaited) noexcept {
  if (is_planted(planted::cancel_not_passed_on)) return;
  if (!task.claims.take_pending()) return;
  cancel_message message;
  cancel_origin from{.awaits = &task, .by_get = awaited.is_task()};
  {
    const std::lock_guard guard{task.lock()};
    if (task.extras) {
      message = task.extras->marked;
      from.joiner = task.extras->joiner;
    }
  }
  if (!cancel_through(awaited, message, from)) task.claims.mark();
}

void throw_cancelled() {
  task_base& task = *current_task();
  cancel_message message;
  {
    const std::lock_guard guard{task.lock()};
    if (task.extras) message = std::exchange(task.extras->delivered, nullptr);
  }
  throw cancelled{std::move(message)};
}

void make_ready(ready_node& node) noexcept { send(node, this_shard()); }

void make_ready(ready_list& nodes) noexcept {
  if (nodes.empty()) return;
  shard* const here = this_shard();
  while (ready_node* const node = nodes.pop()) send(*node, here);
}

}  // namespace roving::detail
