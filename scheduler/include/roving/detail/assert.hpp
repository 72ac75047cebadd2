// ROVING_ASSERT: a claim that only a fault of ours can break.
//
// Always on, in release builds too: the claims guard hand-overs between threads, and a broken one shows far from
// its cause if the program goes on. The price is a compare and a branch that is never taken; the failing side is
// cold and out of line. What a user can break is an exception and never this.
#pragma once

#pragma GCC visibility push(default)

namespace roving::detail {

/// Prints file, line and expression to stderr and aborts. Does not suspend; any thread; needs little stack.
[[noreturn, gnu::noinline, gnu::cold]] void assertion_failed(const char* expression, const char* file,
                                                             int line) noexcept;

}  // namespace roving::detail

#pragma GCC visibility pop

#define ROVING_ASSERT(condition)                     \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::roving::detail::assertion_failed(#condition, __FILE__, __LINE__))
