// Linked into a program (roving::debug_locks), stands before the C library's functions for pthread mutexes, and so
// before std::mutex, and tells the shard that a task locked one; what it is for is in scheduler/suspension_check.hpp.
//
// A library of its own, for debugging, since to stand there slows down every lock of the program and is not to be had
// by accident. Not with sanitizers, which stand there themselves.
#include <cerrno>
#include <cstdint>
#include <ctime>

#include <dlfcn.h>
#include <pthread.h>

#include <roving/detail/atomic.hpp>
#include <roving/detail/debug_locks.hpp>

namespace {

// The next definition of that name, which is the C library's.
template <class Function>
Function* next_of(const char* name, roving::detail::atomic<Function*>& found) noexcept {
  Function* known = found.load(std::memory_order_relaxed);
  if (known == nullptr) {
    known = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
    found.store(known, std::memory_order_relaxed);
  }
  return known;
}

using lock_function = int(pthread_mutex_t*);
using timed_function = int(pthread_mutex_t*, const timespec*);
using clock_function = int(pthread_mutex_t*, clockid_t, const timespec*);

constinit roving::detail::atomic<lock_function*> next_lock{nullptr};
constinit roving::detail::atomic<lock_function*> next_try{nullptr};
constinit roving::detail::atomic<lock_function*> next_unlock{nullptr};
constinit roving::detail::atomic<timed_function*> next_timed{nullptr};
constinit roving::detail::atomic<clock_function*> next_clock{nullptr};

int told(int result, pthread_mutex_t* mutex, void* by) noexcept {
  // Where it was called from, not where that returns to.
  if (result == 0 || result == EOWNERDEAD)
    roving::detail::mutex_was_taken(mutex, reinterpret_cast<std::uintptr_t>(by) - 1);
  return result;
}

}  // namespace

extern "C" {

// By which a linker is asked for this file.
extern const int roving_debug_locks;
const int roving_debug_locks = 1;

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  return told(next_of("pthread_mutex_lock", next_lock)(mutex), mutex, __builtin_return_address(0));
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  return told(next_of("pthread_mutex_trylock", next_try)(mutex), mutex, __builtin_return_address(0));
}

int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* until) noexcept {
  return told(next_of("pthread_mutex_timedlock", next_timed)(mutex, until), mutex, __builtin_return_address(0));
}

int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock, const timespec* until) noexcept {
  return told(next_of("pthread_mutex_clocklock", next_clock)(mutex, clock, until), mutex, __builtin_return_address(0));
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  roving::detail::mutex_is_released(mutex);
  return next_of("pthread_mutex_unlock", next_unlock)(mutex);
}
}
