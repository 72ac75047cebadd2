// Whether two functions run on one stack, by the addresses of their frames.
#pragma once

#include <cstdint>

namespace roving_test {

/// Of the caller, near enough.
[[gnu::noinline]] inline std::uintptr_t stack_address() {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

/// Stacks are 256 KiB and more, so that two of them are further apart, also where one is half used.
inline bool is_same_stack(std::uintptr_t a, std::uintptr_t b) { return (a > b ? a - b : b - a) < 64 * 1024; }

}  // namespace roving_test
