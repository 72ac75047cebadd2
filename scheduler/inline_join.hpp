// Inline join (D9): a task that waits for one which nobody has started runs it right there, on its own stack, as a
// call. Fork and join then cost little more than a push and a pop, and recursion goes depth first.
//
//     get() ----> nobody has started it?   roving: take_unstarted()  --- yes --->  child.run()  ---> goes on
//                 enough of a stack left?  pinned: take_if_next()        |
//                                                                        +-- no: waits as usual
//
// Roving: who runs it first is decided by one flag in the task, since only the newest and the oldest entry of the own
// queue can be taken out of it. Any other stays behind: it holds a reference then, and whoever comes upon it drops it.
// Tasks on the overflow queue are linked by themselves, so they could not be there and parked at once: they are taken
// when they get there.
//
// Pinned: only if the child is what the parent's departure would lead to, and when it has ended the parent stands in
// line behind who waited before it. So the order is that of asyncio, to the generation.
//
// While the child runs, the fiber is the child's: identity, context, name, cancellation and exceptions. It may park and
// migrate. The parent's claim word then says that it is about to park in a wait that passes cancels on: nobody wakes
// it. This is written, and a pinned parent's place in line taken, no sooner than somebody could see it, since most
// children end before:
//   when the child leaves (parks, yields);
//   when what runs on the same thread meanwhile, the child itself, a task that it starts eagerly or who is told of its
//   end at once, cancels a task, waits for one or asks for a report.
// A cancel from another thread that comes before marks the parent. The mark is passed on when the child leaves, and is
// thrown by the parent's wait if the child ends before.
//
// I1  fiber::unseen leads to the parents on that fiber whose children have not left it since they began, innermost
//     first. All others are open.
//
// Rejected: claiming by the child's claim word (its epoch has readers who would have to know of a state more).
#pragma once

#include <cstdint>

#include <roving/detail/task_base.hpp>

#include "scheduler/context.hpp"

namespace roving::detail {

/// A parent whose child runs inline. Lies on its stack; is its place among those who wait for the child.
struct inline_frame : done_node {
  inline_frame(task_base& who, task_base& runs, future_base& gets_cancels, wait_mode how) noexcept;

  task_base& parent;
  task_base& child;
  future_base& cancels_go_to;
  const claim_word::word epoch;
  const wait_mode mode;
  inline_frame* outer = nullptr;  // in fiber::unseen
  inline_frame* inner = nullptr;  // once all are open
  bool is_open = false;
  bool is_queued = false;  // pinned: the child's end has put the parent into ready_
};

/// Opens the waits of the parents in `on.unseen`. Takes locks of their children only. The thread that is on it.
void open_waits(fiber& on) noexcept;

/// The same for the fiber that runs, if any.
void open_waits_here() noexcept;

/// The same where no lock is held; also passes on what has marked them.
void open_waits_and_pass_marks(fiber& on) noexcept;

/// What is to be done for `on` before it is left: opens waits, and puts itself before `after` where there are marks to
/// pass on, which is no business of who holds locks. `room` is on the stack that is left.
struct pass_marks_first {
  after_switch after;
  void* argument;
  inline_frame* outermost;
};
void see_to_parents(fiber& on, after_switch& after, void*& argument, pass_marks_first& room) noexcept;

/// What became of it. `cancel_pending`: done, and the current task has a cancel to look at.
enum class inline_join : std::uint8_t { not_done, done, cancel_pending };

/// Runs `child` to its end, if that can be done on the stack of the current task; if not, nothing has happened.
/// Cancels of the current task go to `cancels_go_to` meanwhile (unless it is in no_cancel or unwinds); what is not
/// taken there stays pending. The caller has references to both. Suspends when `child` does.
[[nodiscard]] inline_join join_inline(task_base& child, future_base& cancels_go_to, const char* call) noexcept;

}  // namespace roving::detail
