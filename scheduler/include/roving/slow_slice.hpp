// What debug mode says of a task that held its shard for long.
#pragma once

#include <functional>
#include <string>

#include <roving/placement.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A task or callback ran for long without suspending, and nothing else ran on its shard meanwhile.
struct slow_slice {
  std::string task;  // its name; "callback" for one
  spawn_site site;   // where it was spawned or posted
  duration took{};   // from one suspension to the next
  unsigned shard = 0;
};

/// Called with each, on the shard, right after the slice. Must not suspend. What it throws is reported as unhandled.
using slow_slice_handler = std::function<void(const slow_slice&)>;

}  // namespace roving

#pragma GCC visibility pop
