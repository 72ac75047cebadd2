// Whether stacks of fibers can be read on this kind of machine: scheduler/stack_trace.hpp.
#pragma once

namespace roving_test {

#if defined(__x86_64__) && defined(__linux__)
inline constexpr bool has_stacks = true;
#else
inline constexpr bool has_stacks = false;
#endif

}  // namespace roving_test
