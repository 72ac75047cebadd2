// Tested: what is due when it is set comes in the next turn, as in asyncio, however long ago the shard has looked at
// the clock: after a long slice, and after a sleep.
#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "tests/support/catch.hpp"

namespace sim = roving::sim;
using namespace std::chrono_literals;

namespace {

struct turns {
  int until_called = 0;   // a callback that is due
  int until_stopped = 0;  // a task in a timeout that is over
};

template <class Before>
turns turns_after(Before before) {
  constexpr int enough = 100;
  turns seen;
  bool is_called = false;
  before();
  roving::post_after(0s, [&] { is_called = true; });
  for (; !is_called && seen.until_called < enough; ++seen.until_called) roving::yield();
  before();
  try {
    roving::with_timeout(0s, [&] {
      for (; seen.until_stopped < enough; ++seen.until_stopped) roving::yield();
    });
  } catch (const roving::timeout_error&) {
  }
  return seen;
}

}  // namespace

TEST_CASE("C10 C84 sim: a callback that is due and a timeout that is over come next, whatever was before", "[sim]") {
  const bool is_roving = GENERATE(false, true);
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    sim::options how;
    how.seed = seed;
    how.runtime.shards = 1;
    turns after_computing;
    turns after_sleep;
    sim::run(how, [&] {
      roving::spawn(is_roving ? roving::anywhere : roving::here, [&] {
        after_computing = turns_after([] { sim::spend(50ms); });
        after_sleep = turns_after([] { roving::sleep_for(1h); });
      }).get();
    });
    CHECK(after_computing.until_stopped == 0);
    CHECK(after_sleep.until_stopped == 0);
    if (is_roving) continue;  // its turns are not the loop's
    CHECK(after_computing.until_called == 2);
    CHECK(after_sleep.until_called == 2);
  }
}
