// Inline join (D9): a roving task that waits for another roving task which nobody has started runs it right there, on
// its own stack, as a call. Fork and join then cost a push and a pop, and recursion goes depth first.
//
//     get() ----> nobody has started it?  taken.exchange(true)   --- won --->  child.run()  ---> goes on
//                 a stack half as large as it asked for is left?     |
//                 the turn has time for one?                         +-- lost: somebody runs it, or has an entry that
//                                                                        can't be taken back: waits as usual
//
// Who runs it first is decided by one flag in the task, since only the newest entry of the own queue can be taken out
// of it. Any other entry stays behind: it holds a reference then, and whoever comes upon it drops it. Tasks on the
// overflow queue are linked by themselves, so they could not be there and parked at once: they are taken when they
// get there.
//
// While the child runs, the fiber is the child's: identity, context, name, cancellation and exceptions. It may park and
// migrate. The parent's claim word says that it is about to park in a wait that passes cancels on: nobody wakes it.
//
// Rejected: claiming by the child's claim word (its epoch has readers who would have to know of a state more), and
// inlining pinned tasks (their order is part of the contract).
#pragma once

#include <roving/detail/task_base.hpp>

namespace roving::detail {

/// Runs `child` to its end, if that can be done on the stack of the current task; false when not: nothing has happened.
/// Cancels of the current task go to `cancels_go_to` meanwhile (unless it is in no_cancel or unwinds); what is not
/// taken there stays pending. The caller has references to both. Suspends when `child` does.
[[nodiscard]] bool join_inline(task_base& child, future_base& cancels_go_to, const char* call) noexcept;

}  // namespace roving::detail
