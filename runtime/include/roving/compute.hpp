// Calling what computes for long.
#pragma once

#include <type_traits>
#include <utility>

#include <roving/detail/off_shard_call.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

/// Runs invoke(argument) in the runtime's arena; see compute().
void call_compute(const char* call, void (*invoke)(void*), void* argument);

}  // namespace detail

/// Calls `f` in the runtime's oneTBB arena while the current task is parked, and returns what it returns or throws what
/// it throws. For long computing, and for oneTBB's parallel algorithms, which use the arena's threads from inside `f`:
/// loops and algorithms share the machine, and neither holds up the other. `f` runs off every shard, so that nothing in
/// it may suspend or needs a shard; it sees the caller's context_vars.
///
/// At most options.compute_threads of the arena's threads run at once; calls beyond that wait, first come first served.
/// How many of the threads a parallel algorithm gets is oneTBB's choice: tbb::global_control limits it for the whole
/// process. `f` stays the caller's, and a cancel does what it does to blocking(): work that has begun is waited for,
/// other work never runs. Cancel long work yourself, by a flag that it looks at. Suspends: yes. Errors: no_shard (a
/// plain thread can call `f` itself), not_in_task (in a callback), `cancelled`,
///   runtime_closed; what `f` throws. Thread safety: a task.
/// Built without oneTBB it is the same, but for the arena: as many plain threads, of the runtime's own.
template <class Function>
std::invoke_result_t<Function> compute(Function&& f) {
  detail::off_shard_call<Function> call{std::forward<Function>(f)};
  detail::call_compute("compute", &detail::off_shard_call<Function>::invoke, &call);
  return call.take();
}

}  // namespace roving

#pragma GCC visibility pop
