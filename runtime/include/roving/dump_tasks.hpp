// All tasks and what they are at, as text for people: for a server that hangs.
#pragma once

#include <string>

#pragma GCC visibility push(default)

namespace roving {

/// The shards and the tasks of the current runtime that are not done: what each shard runs; of each task its name,
/// where it was spawned, where it may run, the call in which it waits and for whom, its stack; then who waits for whom,
/// and circles. In debug mode also for how long each has been as it is. In simulation without stacks.
///
/// Suspends: no. It blocks its shard for the time that it takes: some 10 us a task, to read the program's symbols the
/// first few milliseconds more, and up to 100 ms for a shard that does not answer. The others go on; what it says of
/// each task was true when it was looked at. Thread safety: on a shard; from plain threads, also when no shard answers
/// any more, runtime::dump_tasks(). Errors: no_shard; std::bad_alloc.
[[nodiscard]] std::string dump_tasks();

}  // namespace roving

#pragma GCC visibility pop
