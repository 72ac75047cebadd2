// Tested: that inline join of pinned tasks (D9, scheduler/inline_join.hpp) changes nothing that can be seen. At two
// places it decides whether the loop would have come to the same task next, and a wrong answer shows only where several
// things meet: callbacks, cancels, the end of a generation. So random programs write down what happens to them, once
// with it and once in debug mode, where pinned children have stacks of their own: both must write the same.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/runtime/random_program.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using roving_test::random_program;

namespace {

using lines = std::vector<std::string>;

void run(random_program& all, std::uint32_t seed, bool debug) {
  roving::options how;
  how.shards = 1;
  how.debug = debug;
  how.slow_slice = 1h;
  how.poll_every_tasks = std::numeric_limits<unsigned>::max();  // the clock ends no turn
  how.poll_every = 1h;
  how.on_unhandled = [](const roving::unhandled&) {};
  roving::run(how, [&] { roving_test::run_random_program(all, seed); });
}

std::string first_difference(const lines& left, const lines& right) {
  const auto [in_left, in_right] = std::mismatch(left.begin(), left.end(), right.begin(), right.end());
  if (in_left == left.end() && in_right == right.end()) return "none";
  const auto text_of = [](const lines& of, lines::const_iterator at) { return at == of.end() ? "(the end)" : *at; };
  return "line " + std::to_string(in_left - left.begin() + 1) + ", inline: " + text_of(left, in_left) +
      "\n  otherwise: " + text_of(right, in_right);
}

}  // namespace

TEST_CASE("pinned inline join: random programs have the trace that they have without it", "[inline]") {
  const bool sanitized = roving::detail::address_sanitizer || roving::detail::thread_sanitizer;
  const std::uint32_t programs = sanitized ? 1000 : 3000;
  std::uint32_t with_inline_joins = 0;
  for (std::uint32_t seed = 1; seed <= programs; ++seed) {
    INFO("seed " << seed);
    random_program with;
    random_program without;
    run(with, seed, false);
    run(without, seed, true);
    REQUIRE(first_difference(with.trace, without.trace) == "none");
    REQUIRE(without.ran_inline == 0);
    REQUIRE_FALSE(with.wrong);
    REQUIRE(with.begun == with.ended);
    with_inline_joins += with.ran_inline != 0;
  }
  CHECK(with_inline_joins > programs / 2);
}
