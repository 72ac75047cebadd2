// Tested: random programs (tests/runtime/random_program.hpp) whose tasks are anywhere, while a plain thread cancels
// some of them at any moment: what waits inline, on another stack or on another shard ends, each task once and as
// itself.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/runtime/random_program.hpp"
#include "tests/support/catch.hpp"

namespace sim = roving::sim;
using roving_test::random_program;

namespace {

void cancel_some(const random_program& of, std::uint32_t seed) {
  std::mt19937 chance{seed};
  for (int i = 0; i < 12; ++i) {
    sim::spend(std::chrono::nanoseconds{chance() % 3000});
    const std::size_t victim = of.tasks.empty() ? 0 : chance() % of.tasks.size();
    if (victim < of.tasks.size() && of.tasks[victim].valid()) of.tasks[victim].cancel("from outside");
  }
}

void run(random_program& all, std::uint32_t seed) {
  all.mixed = true;
  sim::options how;
  how.seed = seed;
  how.runtime.shards = 1 + seed % 3;
  how.runtime.on_unhandled = [](const roving::unhandled&) {};
  sim::run(how, [&] {
    sim::thread canceller{[&] { cancel_some(all, seed); }};
    roving_test::run_random_program(all, seed);
    canceller.join();
  });
}

}  // namespace

TEST_CASE("sim: random programs end, each task once and as itself", "[sim]") {
  const std::uint32_t seeds = roving::detail::address_sanitizer ? 200 : 3000;
  int begun = 0;
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    INFO("seed " << seed);
    auto all = std::make_unique<random_program>();
    std::string failure;
    try {
      run(*all, seed);
    } catch (const sim::failure& found) {
      failure = found.what();
    }
    if (!failure.empty()) (void)all.release();  // its tasks are abandoned and never end
    REQUIRE(failure == "");
    REQUIRE_FALSE(all->wrong);
    REQUIRE(all->begun == all->ended);
    begun += all->begun;
  }
  CHECK(begun > static_cast<int>(10 * seeds));
}
