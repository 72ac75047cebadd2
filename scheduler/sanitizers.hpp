// Says whether this build is watched by AddressSanitizer or ThreadSanitizer. The two compilers say it differently.
//
// Only the facts are here. What is done about them is done in context.cpp, the one home of the sanitizers' hooks.

#pragma once

#if defined(__SANITIZE_ADDRESS__)
#  define ROVING_ADDRESS_SANITIZER 1
#endif
#if defined(__SANITIZE_THREAD__)
#  define ROVING_THREAD_SANITIZER 1
#endif
#if defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define ROVING_ADDRESS_SANITIZER 1
#  endif
#  if __has_feature(thread_sanitizer)
#    define ROVING_THREAD_SANITIZER 1
#  endif
#endif
#if !defined(ROVING_ADDRESS_SANITIZER)
#  define ROVING_ADDRESS_SANITIZER 0
#endif
#if !defined(ROVING_THREAD_SANITIZER)
#  define ROVING_THREAD_SANITIZER 0
#endif

namespace roving::detail {

inline constexpr bool address_sanitizer = ROVING_ADDRESS_SANITIZER != 0;
inline constexpr bool thread_sanitizer = ROVING_THREAD_SANITIZER != 0;

}  // namespace roving::detail
