// Which shard the calling thread is, and what little else belongs to a thread. The only home of thread_local.
//
// A compiler may take the address of a thread-local before a suspension and use it after, on another thread; noinline
// alone does not stop clang, nor link-time optimization. Returning a pointer that went through an empty asm statement
// does, with every compiler, flag and kind of library that was tried. So: call this again after whatever may suspend,
// and never keep what it returned across.
#pragma once

#include <cstdint>

#include <roving/detail/context_values.hpp>
#include <roving/detail/ready_node.hpp>

namespace roving::detail {

/// The shard that the calling thread is, or null.
[[nodiscard]] shard* this_shard() noexcept;

void set_this_shard(shard* now) noexcept;

/// Whether it lies in what the calling thread has here.
[[nodiscard]] bool is_thread_local_of_ours(std::uintptr_t address) noexcept;

/// What the calling thread has here. For a simulation, whose threads take turns on one.
struct thread_locals {
  shard* here = nullptr;
  context_values* context_of_plain_thread = nullptr;
};
[[nodiscard]] thread_locals exchange_thread_locals(const thread_locals& now) noexcept;

/// Where the calling thread keeps what context_vars hold while it is no shard.
[[nodiscard]] context_values*& context_of_this_thread() noexcept;

}  // namespace roving::detail
