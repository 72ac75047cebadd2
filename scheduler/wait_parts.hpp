// The pieces of a wait that inline_join.cpp shares with wait.cpp.
#pragma once

#include <roving/detail/task_base.hpp>

#include "scheduler/shard.hpp"

namespace roving::detail {

/// Whether no cancel may be thrown in the current task now.
[[nodiscard]] inline bool is_masked(const shard& here, const task_base& task) noexcept {
  return task.no_cancel_depth != 0 || here.is_unwinding();
}

/// For a task that is armed to pass cancels on: a cancel that was pending before goes to what it awaits. If that is
/// done, it stays pending. The caller has references to both.
void pass_on_mark(task_base& task, future_base& awaited) noexcept;

/// Takes a pending cancel of the current task, to be thrown by throw_cancelled(), unless none may be thrown.
[[nodiscard]] bool take_pending_cancel() noexcept;

}  // namespace roving::detail
