// Work for servers under a mixed load: requests that compute, some of them for long, without ever suspending.
//
// The work is a number of rounds of a chain of shifts, which every compiler of every language turns into the same
// instructions, so that all servers do the same whatever the clock says meanwhile. How many rounds a microsecond has,
// is found once by who starts them: `limit_mixed --calibrate`.
#pragma once

#include <cstdint>

namespace roving_perf {

/// Marsaglia's xorshift. Never 0 if it was not.
constexpr std::uint64_t next_random(std::uint64_t state) noexcept {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/// Says for each request how long it computes, and does.
struct work_plan {
  std::uint64_t rounds = 0;        // of an ordinary request
  std::uint64_t stall_rounds = 0;  // of the others,
  unsigned stall_percent = 0;      // which are that many

  /// One request's work. `random` is its connection's.
  void do_one(std::uint64_t& random) const noexcept {
    random = next_random(random);
    const bool stalls = (random >> 32) % 100 < stall_percent;
    for (std::uint64_t left = stalls ? stall_rounds : rounds; left != 0; --left) random = next_random(random);
    asm volatile("" : "+r"(random));  // or nobody would need the rounds
  }
};

}  // namespace roving_perf
