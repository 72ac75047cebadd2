// Where compute() runs: threads of our own that enter a oneTBB arena with each job.
#pragma once

#include <memory>

#include "scheduler/blocking_pool.hpp"

namespace roving::detail {

/// A pool of `chosen.threads_at_most` threads that share an arena of that size. Built without oneTBB: of plain threads.
[[nodiscard]] std::unique_ptr<blocking_pool> make_arena_pool(blocking_pool::settings chosen);

}  // namespace roving::detail
