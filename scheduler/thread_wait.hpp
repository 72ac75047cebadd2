// How a plain thread waits where a task would park: it blocks.
#pragma once

#include <roving/detail/wait.hpp>

namespace roving::detail {

/// Blocks the calling thread until `self` is claimed or `deadline` has passed. `held` is unlocked meanwhile.
wait_end block_thread(waiter& self, spin_lock& held, time_point deadline) noexcept;

/// As park_among().
wait_end block_thread_among(waiter& self, void (*enlist)(void*) noexcept, void* argument, time_point deadline) noexcept;

/// run() of the node that stands for a thread.
void wake_thread(ready_node& thread) noexcept;

}  // namespace roving::detail
