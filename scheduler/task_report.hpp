// The tasks of a runtime as text: who is there, what each waits for and who for whom, with their stacks. What
// dump_tasks() returns, and what a simulation says when nothing can go on; the one place that knows what to say of a
// task.
//
// It is for the moment in which nothing works any more, so it asks nobody for help: no shard has to answer, no lock is
// taken that is held while anybody waits or runs a user's code.
//
// How a task stays readable while others go on. The caller walks over the slabs and takes a reference to each task
// (blocks are task_base for ever, so any may be looked at). Then, for each by itself:
//   - Its name is behind its spin lock; its number, site and placement do not change.
//   - If it is in a wait, it is pinned (claim_word.hpp, try_pin): somebody may still end the wait and another thread
//     enter its fiber, but the task goes no farther than settled(), at the end of that wait, until the pin is gone. So
//     what it wrote before (awaits, waits_for) is ordered and stays, what it awaits is kept by its stack, which stays
//     too, and neither its fiber nor its stack can be given back.
//   - Its stack may be written to by whoever enters the fiber meanwhile, so it is copied first and believed only if the
//     claim word says afterwards that nobody had ended the wait: nobody enters a fiber before that.
//   - If it is in none, it runs, is ready, or was never started: nothing of it is read but atomics.
// A pin is held for the copy of a stack, some microseconds for a deep one; a task that is woken just then spins as
// long.
//
// The report is not a moment's: tasks go on while it is made. Each line is true of its task at its time. In a deadlock,
// for which it is made, nothing goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <roving/detail/future_base.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/time.hpp>

#include "scheduler/stack_trace.hpp"

namespace roving::detail {

class symbol_table;

/// One task at one time.
struct task_sight {
  enum class state : std::uint8_t { unstarted, ready_or_runs, runs, ready, waits, runs_child, ended };

  future_reference<task_base> task;
  std::string name;
  state now = state::ready_or_runs;
  const char* waits_in = nullptr;
  wait_subject waits_for = wait_subject::unknown;
  std::int64_t waits_for_value = 0;
  std::vector<const future_base*> awaits;  // addresses, to be compared with those of others
  bool awaits_more = false;                // than `awaits` could hold
  std::optional<std::uint64_t> locked_by;  // what it waits for: the number of a task; 0: none that is known
  unsigned runs_on_shard = 0;              // if it runs
  call_addresses calls;                    // on its stack, if it was asked for, of who is parked or runs
};

/// Where stacks are copied to; grows to as many as a task has fibers.
using stack_copies = std::vector<stack_copy>;

/// Looks at a task; at its stack too if there is room for it. Any thread. Throws std::bad_alloc.
[[nodiscard]] task_sight look_at(future_reference<task_base> task, stack_copies* room);

/// "Task-7 (server.cpp:12), pinned to shard 0, waits in sleep_for, 1.5 s left"
[[nodiscard]] std::string describe(const task_sight& seen, time_point now);

/// A shard has said that it runs `task`, and where that is: so it is in `all`, whatever was seen of it before.
void note_running(std::vector<task_sight>& all, future_reference<task_base> task, unsigned shard, call_addresses calls);

/// Calls, a line each.
[[nodiscard]] std::string describe_calls(const call_addresses& calls, symbol_table& names);

/// All of them: a line each with what it awaits, its calls below, then who waits for whom as a tree, and circles.
/// Throws std::bad_alloc.
[[nodiscard]] std::string describe(const std::vector<task_sight>& tasks, time_point now, symbol_table& names);
[[nodiscard]] std::string describe(const std::vector<task_sight>& tasks, time_point now);

}  // namespace roving::detail
