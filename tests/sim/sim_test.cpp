// Tested: the simulation itself: that it is deterministic, that time is virtual, that a fault of the program is found,
// made short and replayed.
#include <cstdlib>
#include <string>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
namespace sim = roving::sim;

TEST_CASE("sim: a program runs to its end on a virtual clock", "[sim]") {
  const sim::report done = sim::run({.seed = 1}, [] {
    const auto began = roving::now();
    roving::sleep_for(1h);
    if (roving::now() - began < 1h) throw std::runtime_error{"early"};
    if (!sim::is_simulated()) throw std::runtime_error{"not simulated"};
  });
  CHECK(done.time >= 1h);
  CHECK(done.steps > 10);
  CHECK_FALSE(sim::is_simulated());
}
