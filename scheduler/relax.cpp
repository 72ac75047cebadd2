// How roving waits where it spins, on real threads: first by pausing, then by offering the processor.
//
// Pausing for ever was rejected: with more threads than cores the one that is waited for may need this very core.
#include <roving/detail/relax.hpp>

#include <thread>

#include "scheduler/simulator.hpp"

namespace roving::detail {
namespace {

// What is waited for takes a few instructions: some ten nanoseconds. A pause takes between 4 ns and
// 50 ns on the cores of today, so after this many the holder isn't running.
constexpr unsigned pauses_before_yielding = 64;

void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` does nothing on most Arm cores; isb waits a little
#endif
}

}  // namespace

void relax(unsigned iteration) noexcept {
  if (simulator* const simulated = current_simulator()) return simulated->relax();
  if (iteration < pauses_before_yielding)
    pause();
  else
    std::this_thread::yield();
}

}  // namespace roving::detail
