// Tested: S12 where a callback wakes a roving task and goes on computing: somebody who is idle takes the task.
#include <algorithm>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "tests/support/catch.hpp"

namespace sim = roving::sim;
using namespace std::chrono_literals;

namespace {

// From the wake-up until the task goes on.
roving::duration wait_of_woken(bool by_timer, int turns) {
  roving::event woken;
  roving::time_point set_at;
  roving::time_point seen_at;
  auto waiter = roving::spawn(roving::anywhere, [&] {
    woken.wait();
    seen_at = roving::now();
  });
  roving::sleep_for(5ms);
  for (int i = 0; i < turns; ++i) {  // meanwhile the other shard sleeps, and has the watch
    sim::spend(20us);
    roving::yield();
  }
  const auto wake = [&] {
    set_at = roving::now();
    woken.set();
    sim::spend(5ms);
  };
  if (by_timer)
    roving::post_after(1us, wake);
  else
    roving::post(wake);
  waiter.join();
  return seen_at - set_at;
}

}  // namespace

TEST_CASE("S12 sim: a roving task that a callback wakes does not wait for the end of it", "[sim]") {
  const bool by_timer = GENERATE(false, true);
  roving::duration longest{};
  for (int turns = 500; turns < 600; ++turns) {  // the watcher is anywhere in its interval then
    sim::options how;
    how.runtime.shards = 2;
    how.schedule = sim::strategy::timed;
    sim::run(how, [&] { longest = std::max(longest, wait_of_woken(by_timer, turns)); });
  }
  CHECK(longest <= 50us);
}
