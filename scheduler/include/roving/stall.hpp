// What is said of a task that holds its shard, while it still does.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <roving/placement.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A task, or a callback, that has not suspended for options.stall_threshold: nothing else that is pinned to its shard
/// runs meanwhile.
struct stall {
  std::string task;  // its name; "callback" for one
  spawn_site site;   // where the task was spawned
  unsigned shard = 0;
  duration held_for{};           // at least; it was seen from outside, so it may have begun earlier
  std::string stack;             // its calls, a line each, the innermost first; empty where it could not be had
  std::uint64_t unreported = 0;  // stalls of this shard since the last report, which came too soon after it
};

/// Called with each, on the thread "roving-watchdog", while the task goes on. May block: other reports wait meanwhile.
/// What it throws is reported as unhandled.
using stall_handler = std::function<void(const stall&)>;

}  // namespace roving

#pragma GCC visibility pop
