// Tested: that simulation finds what goes wrong. Each planted fault (roving/detail/planted.hpp) is looked for with the
// scenario that shows it soonest, in a process of its own, since some of them end in a crash. docs/reliability.md has
// this table, which ROVING_SHOW_PLANTED prints.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/sim/scenarios.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/in_a_child.hpp"

using roving::detail::planted;
using roving_test::scenario;

namespace {

struct expectation {
  planted fault;
  const char* name;
  const char* found_by;
  std::uint64_t seeds;  // within so many
};

#define ROVING_PLANTED(fault, scenario, seeds) \
  { planted::fault, #fault, #scenario, seeds }
constexpr expectation table[] = {
    ROVING_PLANTED(sleep_without_second_look, from_outside, 10'000),
    ROVING_PLANTED(message_without_wake, exclusion, 100),
    ROVING_PLANTED(roving_without_call, from_outside, 1000),
    ROVING_PLANTED(found_alone, pairs_from_outside, 20'000),
    ROVING_PLANTED(searchers_do_not_chain, pairs_from_outside, 1000),
    ROVING_PLANTED(watch_ended_unlooked, watched_after_a_pause, 10'000),
    ROVING_PLANTED(long_watch_kept, lone_tasks, 5000),
    ROVING_PLANTED(short_watch_kept, lone_tasks, 5000),
    ROVING_PLANTED(claim_in_two_steps, waits_with_a_limit, 1000),
    ROVING_PLANTED(unlock_before_leaving, exclusion, 500),
    ROVING_PLANTED(ready_before_leaving, exclusion, 100),
    ROVING_PLANTED(last_of_deque_unraced, cancel_as_it_ends, 5000),
    ROVING_PLANTED(steal_in_two_steps, exclusion, 500),
    ROVING_PLANTED(drain_in_two_steps, messages_in_order, 500),
    ROVING_PLANTED(inbox_newest_first, messages_in_order, 100),
    ROVING_PLANTED(cancel_not_passed_on, cancel_before_waiting, 100),
    ROVING_PLANTED(pins_not_awaited, cancel_as_it_ends, 50'000),
    ROVING_PLANTED(stale_entry_without_reference, shared_children, 100),
    ROVING_PLANTED(inline_in_two_steps, fork_and_join, 500),
    ROVING_PLANTED(timers_early, never_early, 200),
    ROVING_PLANTED(closed_before_tasks_ended, cleanup_at_the_end, 100),
    ROVING_PLANTED(spawn_unseen_by_close, spawned_as_it_closes, 10'000),
    ROVING_PLANTED(threads_stopped_without_wake, exclusion, 100),
    ROVING_PLANTED(second_cancel_thrown_twice, cancelled_twice, 100),
    ROVING_PLANTED(finish_without_lock, shared_children, 500),
    ROVING_PLANTED(withdrawn_while_running, work_on_other_threads, 200),
    ROVING_PLANTED(mutex_barging, nobody_passes, 100),
    ROVING_PLANTED(mutex_cancelled_keeps_it, mutex_handed_over, 500),
    ROVING_PLANTED(semaphore_permit_lost, timeouts_and_events, 500),
    ROVING_PLANTED(queue_wake_lost, item_handed_over, 5000),
    ROVING_PLANTED(notification_lost, notification_handed_over, 1000),
    ROVING_PLANTED(event_wakes_one, event_reaches_all, 100),
    ROVING_PLANTED(generation_not_checked, numbers_used_again, 20'000),
    ROVING_PLANTED(edge_not_kept, read_again, 1000),
    ROVING_PLANTED(edge_lost_with_cancel, read_again, 20'000),
};
#undef ROVING_PLANTED

void (*program_of(const char* name))() {
  for (const scenario& each : roving_test::all_scenarios())
    if (std::string{name} == each.name) return each.program;
  return nullptr;
}

constexpr const char* mark_of_a_seed = "looking with seed ";

unsigned long long last_seed_in(const std::string& text) {
  return std::stoull(text.substr(text.rfind(mark_of_a_seed) + std::string{mark_of_a_seed}.size()));
}

roving::sim::options options_for(std::uint64_t seed, planted fault) {
  roving::sim::options how;
  how.seed = seed;
  how.planted = fault;
  how.steps_at_most = 300'000;
  return how;
}

}  // namespace

TEST_CASE("planted faults: each one is in the table", "[sim][planted]") {
  CHECK(std::size(table) + 1 == static_cast<std::size_t>(planted::count));
}

TEST_CASE("planted faults: simulation finds each within its number of seeds", "[sim][planted]") {
  constexpr unsigned seconds_at_most = 240;
  const bool show = std::getenv("ROVING_SHOW_PLANTED") != nullptr;
  for (const expectation& each : table) {
    const auto look_for_it = [&]() -> std::string {
      for (std::uint64_t seed = 1; seed <= each.seeds; ++seed) {
        std::fprintf(stderr, "%s%llu\n", mark_of_a_seed, static_cast<unsigned long long>(seed));
        try {
          roving::sim::run(options_for(seed, each.fault), program_of(each.found_by));
        } catch (const roving::sim::failure& found) {
          return found.what();
        }
      }
      return {};
    };
    const test::child_end end = test::in_a_child(look_for_it, seconds_at_most);
    INFO(each.name << " was not found by " << each.found_by << " within " << each.seeds << " seeds");
    CHECK_FALSE(end.how().empty());
    if (show)
      std::printf("| %s | %s | %llu | %s |\n", each.name, each.found_by, last_seed_in(end.text),
                  end.how().substr(0, end.how().find('\n')).c_str());
  }
}
