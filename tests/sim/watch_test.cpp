// Tested: D7 where roving work comes from outside as a shard that has the watch wakes by itself: who runs it is
// watched.
#include <random>
#include <vector>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "scheduler/sanitizers.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"
#include "tests/support/catch.hpp"

namespace sim = roving::sim;
using namespace std::chrono_literals;

namespace {

// Whether all other shards sleep, and none of them has the watch.
bool is_unwatched() {
  const roving::detail::shard& here = *roving::detail::this_shard();
  return here.owner().idle().sleepers() + 1 == here.owner().shard_count() && here.is_unwatched();
}

// For many intervals: one that has just gone to sleep is about to take the watch.
bool is_unwatched_for_long() {
  sim::spend(30us);
  if (!is_unwatched()) return false;
  sim::spend(300us);
  return is_unwatched();
}

// Several kinds of work; what of it is seen to be unwatched for long.
int unwatched_slices(std::uint32_t seed) {
  sim::options how;
  how.seed = seed;
  how.runtime.shards = 2 + seed % 2;
  how.runtime.deque_capacity = (seed / 3) % 2 != 0 ? 2 : 256;
  how.runtime.watch_interval = 4us;
  int found = 0;
  sim::run(how, [&] {
    roving::anywhere_executor anywhere;
    roving::event all_done;
    int left = 0;
    std::mt19937 chance{seed};
    std::vector<sim::thread> senders;
    for (int sender = 0; sender < 2; ++sender) {
      const auto own_seed = static_cast<std::uint32_t>(chance());
      const int count = 1 + static_cast<int>(own_seed % 5);
      left += count;
      senders.emplace_back([&, own_seed, count] {
        std::mt19937 own{own_seed};
        for (int i = 0; i < count; ++i) {
          sim::spend(std::chrono::nanoseconds{own() % 60'000});
          anywhere.post([&, kind = own() % 4] {
            if (kind == 1 && is_unwatched_for_long()) ++found;
            for (int turn = 0; kind == 2 && turn < 3; ++turn) {
              sim::spend(3us);
              roving::yield();
            }
            for (int child = 0; kind == 3 && child < 3; ++child) roving::spawn([] { sim::spend(2us); }).detach();
            if (kind == 3) roving::sleep_for(10us);
            if (--left == 0) all_done.set();
          });
        }
      });
    }
    all_done.wait();
  });
  return found;
}

}  // namespace

TEST_CASE("sim: who runs what came from outside is watched, also who has woken by itself", "[sim]") {
  int found = 0;
  const std::uint32_t seeds = roving::detail::address_sanitizer ? 1000 : 20'000;
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) found += unwatched_slices(seed);
  CHECK(found == 0);
}
