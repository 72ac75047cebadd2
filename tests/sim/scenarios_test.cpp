// Tested: that the scenarios hold, whatever the seed. ROVING_SIM_SEEDS says how many each is run with,
// ROVING_SIM_SCENARIO which one alone, and ROVING_SIM_REPLAY that it is replayed.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "scheduler/sanitizers.hpp"
#include "tests/sim/scenarios.hpp"
#include "tests/support/catch.hpp"

TEST_CASE("scenarios: each holds with all seeds", "[sim]") {
  const char* const asked = std::getenv("ROVING_SIM_SEEDS");
  roving::sim::exploration how;
  const char* const only = std::getenv("ROVING_SIM_SCENARIO");
  how.seeds = asked != nullptr ? std::stoull(asked) : roving::detail::address_sanitizer ? 200 : 1000;
  for (const roving_test::scenario& each : roving_test::all_scenarios()) {
    if (only != nullptr && std::string{only} != each.name) continue;
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
    if (!failure.empty()) WARN("./dev sim --scenario " << each.name << " --replay '...' with what is quoted below");
    CHECK(failure == "");
    const char* const replay = std::getenv("ROVING_SIM_REPLAY");
    const bool is_replay = replay != nullptr && *replay != '\0';
    CHECK((done.runs == (is_replay ? 1 : how.seeds) || !failure.empty()));
  }
}
