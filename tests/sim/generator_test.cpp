// Tested: generators that are begun while their runtime closes, and destroyed by a callback or never: each body is
// unwound, whoever was first.
#include <deque>
#include <optional>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/support/catch.hpp"

namespace sim = roving::sim;

namespace {

struct kept_generators {
  std::deque<std::optional<roving::generator<int>>> all;
  int begun = 0;
  int unwound = 0;
  bool destroyed_by_callbacks = false;
};

// A callback has a task begin a generator, and the next callback destroys it if it is to; and so on.
void begin_and_go_on(kept_generators& kept, int rounds) {
  if (kept.destroyed_by_callbacks && !kept.all.empty()) kept.all.back().reset();
  try {
    roving::spawn([&kept] {
      auto& one = kept.all.emplace_back(std::in_place, [&kept](auto& yield_value) {
        struct cleanup {
          explicit cleanup(kept_generators& of) : in{of} { ++in.begun; }
          ~cleanup() { ++in.unwound; }
          kept_generators& in;
        } const at_end{kept};
        for (int n = 0;; ++n) yield_value(n);
      });
      (void)one->next();
    }).detach();
    if (rounds > 1) roving::post([&kept, rounds] { begin_and_go_on(kept, rounds - 1); });
  } catch (const roving::runtime_closed&) {  // it was too late
  }
}

}  // namespace

TEST_CASE("sim: what begins a generator as the runtime closes has it unwound", "[sim]") {
  int left = 0;
  const std::uint64_t seeds = roving::detail::address_sanitizer ? 1000 : 12'000;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    kept_generators kept[2];
    sim::options how;
    how.seed = seed;
    how.runtime.shards = 3;
    how.runtime.on_unhandled = [](const roving::unhandled&) {};  // that they were destroyed in callbacks
    sim::run(how, [&] {
      for (unsigned i = 0; i < 2; ++i) {
        kept[i].destroyed_by_callbacks = i == 0;
        roving::on_shard(i + 1).post([&kept, i] { begin_and_go_on(kept[i], 20); });
      }
      roving::yield();
    });
    for (const kept_generators& each : kept) left += each.begun - each.unwound;
  }
  CHECK(left == 0);
}
