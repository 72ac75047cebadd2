// A fiber: a stack and the registers that wait on it. It lies in the room that its stack's record has for it.
//
// Most run tasks, one after the other. A side fiber runs the body of a generator, as part of whatever task enters it:
// while it is entered it is the task's fiber, which parks and is resumed on it, and `entered_from` leads to the task's
// other frames.
#pragma once

#include <new>

#include "scheduler/context.hpp"
#include "scheduler/stack.hpp"

namespace roving::detail {

struct task_base;
struct inline_frame;

struct fiber {
  context place;
  stack& memory;
  task_base* active = nullptr;     // the task that runs on it now
  context* return_to = nullptr;    // an eager spawner that waits for this fiber's first departure
  fiber* return_fiber = nullptr;   // the fiber of that; null: the shard's loop
  fiber* entered_from = nullptr;   // of a side fiber that is entered: where the task was
  inline_frame* unseen = nullptr;  // the innermost parent whose child has not left yet, see inline_join.hpp

  explicit fiber(stack& on) noexcept : memory{on} {}
};
static_assert(sizeof(fiber) <= sizeof(stack::room));

}  // namespace roving::detail
