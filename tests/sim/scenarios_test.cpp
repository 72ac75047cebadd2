// Tested: that the scenarios hold, whatever the seed. ROVING_SIM_SEEDS says how many each is run with.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "scheduler/sanitizers.hpp"
#include "tests/sim/scenarios.hpp"
#include "tests/support/catch.hpp"

TEST_CASE("scenarios: each holds with all seeds", "[sim]") {
  const char* const asked = std::getenv("ROVING_SIM_SEEDS");
  roving::sim::exploration how;
  how.seeds = asked != nullptr ? std::stoull(asked) : roving::detail::address_sanitizer ? 200 : 1000;
  for (const roving_test::scenario& each : roving_test::all_scenarios()) {
    INFO(each.name);
    std::string failure;
    roving::sim::explored done;
    try {
      done = roving::sim::explore(how, each.program);
    } catch (const roving::sim::failure& found) {
      failure = found.what();
    }
    if (std::getenv("ROVING_SHOW_HASHES") != nullptr)
      std::printf("%s %016llx\n", each.name, static_cast<unsigned long long>(done.hash));
    CHECK(failure == "");
    CHECK((done.runs == how.seeds || !failure.empty()));
  }
}
