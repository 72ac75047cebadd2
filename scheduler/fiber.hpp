// A fiber: a stack and the registers that wait on it. It lies in the room that its stack's record has for it.
#pragma once

#include <new>

#include "scheduler/context.hpp"
#include "scheduler/stack.hpp"

namespace roving::detail {

struct task_base;

struct fiber {
  context place;
  stack& memory;
  task_base* active = nullptr;    // the task that runs on it now
  context* return_to = nullptr;   // an eager spawner that waits for this fiber's first departure
  fiber* return_fiber = nullptr;  // the fiber of that; null: the shard's loop

  explicit fiber(stack& on) noexcept : memory{on} {}
};

}  // namespace roving::detail
