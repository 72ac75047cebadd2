// What roving::debug_locks, which sees every pthread mutex of the program, tells the shard that it happens on.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)

namespace roving::detail {

/// The calling thread has locked `mutex`; `by` is where. Any thread.
void mutex_was_taken(const void* mutex, std::uintptr_t by) noexcept;

/// It is about to unlock it.
void mutex_is_released(const void* mutex) noexcept;

}  // namespace roving::detail

#pragma GCC visibility pop
