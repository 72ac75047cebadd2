// Calling what blocks its thread.
#pragma once

#include <type_traits>
#include <utility>

#include <roving/detail/off_shard_call.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

/// Runs invoke(argument) on the runtime's blocking pool; see blocking().
void call_blocking(const char* call, void (*invoke)(void*), void* argument);

}  // namespace detail

/// Calls `f` on a thread of the runtime's blocking pool while the current task is parked, and returns what it returns
/// or throws what it throws. For what blocks its thread: files, getaddrinfo, a library's own waiting. `f` runs off
/// every shard, so that nothing in it may suspend or needs a shard; it sees the caller's context_vars.
///
/// `f` stays the caller's and may refer to the caller's variables: once a thread has begun it, blocking() ends only
/// after it has returned. A cancel that comes meanwhile is thrown then; what `f` returned is lost, and an exception of
/// it goes to options.on_unhandled. Before a thread has begun it, a cancel takes it back at once: it never runs.
/// Suspends: yes. Errors: no_shard (a plain thread can call `f` itself), not_in_task (in a callback), `cancelled`,
///   runtime_closed (the runtime closes, and its tasks have ended); std::system_error when there is no thread and none
///   can be had; what `f` throws. Thread safety: a task.
/// At most options.blocking_threads_at_most run at once; more wait, first come first served.
template <class Function>
std::invoke_result_t<Function> blocking(Function&& f) {
  detail::off_shard_call<Function> call{std::forward<Function>(f)};
  detail::call_blocking("blocking", &detail::off_shard_call<Function>::invoke, &call);
  return call.take();
}

}  // namespace roving

#pragma GCC visibility pop
