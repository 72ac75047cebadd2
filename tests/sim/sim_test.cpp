// Tested: the simulation itself: that it is deterministic, that time is virtual, that a fault of a program is found,
// told of, made short and replayed.
#include <cerrno>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include <roving/detail/relax.hpp>

#include "runtime/sim/choices.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"
#include "tests/sim/scenarios.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/in_a_child.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::Contains;
namespace sim = roving::sim;

namespace {

// The text of the failure; in a child, since what failed is abandoned. Empty for none.
std::string failure_of(const std::function<void()>& body) {
  return test::in_a_child([&]() -> std::string {
           try {
             body();
           } catch (const std::exception& error) {
             return error.what();
           }
           return {};
         })
      .how();
}

// Two tasks add to a number, and look away between reading and writing.
void lost_update() {
  int number = 0;
  roving::mutex one;
  const auto add = [&] {
    const int seen = number;
    { const std::scoped_lock look_away{one}; }
    number = seen + 1;
  };
  roving::gather(roving::anywhere, add, add);
  if (number != 2) throw std::runtime_error{"an update was lost"};
}

}  // namespace

TEST_CASE("sim: a program runs to its end on a virtual clock", "[sim]") {
  const sim::report done = sim::run({.seed = 1}, [] {
    const auto began = roving::now();
    roving::sleep_for(1h);
    if (roving::now() - began < 1h) throw std::runtime_error{"early"};
    if (!sim::is_simulated()) throw std::runtime_error{"not simulated"};
  });
  CHECK(done.time >= 1h);
  CHECK(done.time < 1h + 1s);
  CHECK(done.steps > 10);
  CHECK_FALSE(sim::is_simulated());
}

TEST_CASE("sim: bytes are choices, as good as those of seeds", "[sim]") {
  CHECK(sim::choices_from_bytes(nullptr, 0) == std::vector<std::uint32_t>{0});
  const std::vector<std::uint8_t> bytes{1, 2, 3};
  CHECK(sim::choices_from_bytes(bytes.data(), bytes.size()) == std::vector<std::uint32_t>{0x201, 3});
  // What a fuzzer does, without its feedback.
  const std::string found = failure_of([] {
    std::vector<std::uint8_t> drawn(600);
    for (std::uint32_t state = 1, run = 0; run < 2000; ++run) {
      for (std::uint8_t& each : drawn)
        each = static_cast<std::uint8_t>((state = state * 1'664'525 + 1'013'904'223) >> 24U);
      sim::run({.choices = sim::choices_from_bytes(drawn.data(), drawn.size())}, lost_update);
    }
  });
  CHECK_THAT(found, Contains("an update was lost"));
}

TEST_CASE("sim: the same seed gives the same run, another seed another", "[sim]") {
  std::set<std::uint64_t> hashes;
  for (const roving_test::scenario& each : roving_test::all_scenarios()) {
    INFO(each.name);
    const sim::report first = sim::run({.seed = 7, .trace = true}, each.program);
    const sim::report again = sim::run({.seed = 7, .trace = true}, each.program);
    CHECK(first.trace == again.trace);
    CHECK(first.hash == again.hash);
    CHECK(first.steps == again.steps);
    CHECK_FALSE(first.trace.empty());
    hashes.insert(first.hash);
    hashes.insert(sim::run({.seed = 8}, each.program).hash);
  }
  // Two that differ in the primitive alone may go the same way.
  CHECK(hashes.size() > roving_test::all_scenarios().size());
}

TEST_CASE("sim: a run can be had again from its choices alone", "[sim]") {
  const sim::report first = sim::run({.seed = 11}, roving_test::scenarios::echo);
  const sim::report again = sim::run({.seed = 99, .choices = first.choices}, roving_test::scenarios::echo);
  CHECK(first.hash == again.hash);
}

TEST_CASE("sim: every strategy runs every scenario", "[sim]") {
  for (const sim::strategy how :
       {sim::strategy::random, sim::strategy::priorities, sim::strategy::round_robin, sim::strategy::timed})
    for (const roving_test::scenario& each : roving_test::all_scenarios()) {
      INFO(each.name);
      CHECK_NOTHROW(sim::explore({.seeds = 20, .each = {.schedule = how}}, each.program));
    }
}

TEST_CASE("sim: a fault is found, made short, and can be replayed as the failure says", "[sim]") {
  const std::string found = failure_of([] {
    ::unsetenv("ROVING_SIM_SHRINK");
    sim::explore({.seeds = 2000}, lost_update);
  });
  REQUIRE_THAT(found, Contains("the program threw: an update was lost"));
  REQUIRE_THAT(found, Contains("shrunken from"));
  const std::size_t at = found.find("ROVING_SIM_REPLAY='");
  REQUIRE(at != std::string::npos);
  const std::string replay = found.substr(at + 19, found.rfind('\'') - at - 19);
  CHECK(replay.size() < 100);

  const std::string again = failure_of([&] {
    ::setenv("ROVING_SIM_REPLAY", replay.c_str(), 1);
    sim::explore({}, lost_update);
  });
  CHECK_THAT(again, Contains("the program threw: an update was lost"));
}

TEST_CASE("sim: how much a failure is shrunken can be said from outside", "[sim]") {
  const auto found_with = [](const char* runs, sim::exploration how) {
    return failure_of([&] {
      ::setenv("ROVING_SIM_SHRINK", runs, 1);
      sim::explore(how, lost_update);
    });
  };
  const std::string as_found = found_with("0", {.seeds = 2000});
  CHECK_THAT(as_found, Contains("an update was lost") && !Contains("shrunken"));
  CHECK_THAT(found_with("25", {.seeds = 2000}), Contains(" in 25 runs"));
  CHECK_THAT(found_with("", {.seeds = 2000, .shrink = false}), !Contains("shrunken"));
  CHECK_THAT(found_with("300", {.seeds = 2000, .shrink = false}), Contains("shrunken from"));
  CHECK_THAT(found_with("some", {}), Contains("it is a number of runs"));
}

TEST_CASE("sim: all schedules of a small program", "[sim]") {
  const auto two_add = [](bool with_lock) {
    return [with_lock] {
      int number = 0;
      roving::mutex mutex;
      const auto add = [&] {
        std::unique_lock hold{mutex, std::defer_lock};
        if (with_lock) hold.lock();
        const int seen = number;
        (void)roving::semaphore{1}.try_acquire();  // it may be stopped in here
        number = seen + 1;
      };
      auto one = roving::spawn(roving::on_shard(0), add);
      auto other = roving::spawn(roving::on_shard(1), add);
      one.get();
      other.get();
      if (number != 2) throw std::runtime_error{"an update was lost"};
    };
  };
  sim::enumeration how;
  how.preemptions = 1;
  how.each.runtime.shards = 2;
  how.each.network.latency = 0ms;
  const sim::explored all = sim::enumerate(how, two_add(true));
  CHECK(all.runs > 100);
  CHECK(all.runs < how.runs_at_most);
  how.preemptions = 2;
  CHECK_THAT(failure_of([&] { sim::enumerate(how, two_add(false)); }), Contains("an update was lost"));
}

TEST_CASE("sim: who waits for each other is named, with what each waits for", "[sim]") {
  const std::string found = failure_of([] {
    sim::run({.seed = 3}, [] {
      roving::event never;
      roving::task<void> one;
      roving::task<void> other;
      one = roving::spawn(roving::attributes{.name = "one"}, [&] { other.get(); });
      other = roving::spawn(roving::attributes{.name = "other"}, [&] { one.get(); });
      auto third = roving::spawn(roving::attributes{.name = "third"}, [&] { never.wait(); });
      third.get();
    });
  });
  CHECK_THAT(found, Contains("nothing can go on any more"));
  CHECK_THAT(found, Contains("in a circle: one -> other -> one"));
  CHECK_THAT(found, Contains("task third"));
  CHECK_THAT(found, Contains("waits in event::wait"));
  CHECK_THAT(found, Contains("sim_test.cpp"));
}

TEST_CASE("sim: who has what a task waits for is named, also in a circle", "[sim]") {
  const std::string found = failure_of([] {
    sim::run({.seed = 3, .runtime = {.shards = 2}}, [] {
      roving::mutex left;
      roving::mutex right;
      roving::shared_mutex table;
      roving::semaphore permits{0};
      roving::queue<int> items;
      roving::mutex of_condition;
      roving::condition_variable changed{of_condition};
      roving::mutex forgotten;
      roving::task<void> one;
      const auto named = [](const char* name, auto body) {
        return roving::spawn(roving::attributes{.name = name}, body);
      };
      one = named("one", [&] {
        const std::scoped_lock first{left};
        roving::sleep_for(1ms);
        const std::scoped_lock second{right};
      });
      auto other = roving::spawn(roving::attributes{.placement = roving::on_shard(1), .name = "other"}, [&] {
        const std::scoped_lock first{right};
        roving::sleep_for(1ms);
        const std::scoped_lock second{left};
      });
      auto writer = named("writer", [&] {
        const std::scoped_lock hold{table};
        one.join();
      });
      auto reader = named("reader", [&] {
        roving::sleep_for(1us);
        table.lock_shared();
      });
      auto taker = named("taker", [&] { permits.acquire(); });
      auto getter = named("getter", [&] { (void)items.get(); });
      auto careless = named("careless", [&] { roving::event{}.wait(); });
      roving::sleep_for(1ms);
      auto listener = named("listener", [&] {
        const std::scoped_lock hold{of_condition};
        changed.wait();
      });
      named("forgetful", [&] { forgotten.lock(); }).get();
      auto unlucky = named("unlucky", [&] { forgotten.lock(); });
      auto late = named("late", [&] { left.lock(); });
      late.get();
    });
  });
  CHECK_THAT(found, Contains("in a circle: one -> other -> one\n"));
  CHECK_THAT(found, Contains("waits in mutex::lock, locked by one\n"));
  CHECK_THAT(found, Contains("waits in mutex::lock, locked by other\n"));
  CHECK_THAT(found, Contains("waits in shared_mutex::lock_shared, locked by writer\n"));
  CHECK_THAT(found, Contains("waits in semaphore::acquire, until somebody calls release()"));
  CHECK_THAT(found, Contains("waits in queue::get, until somebody calls put()"));
  CHECK_THAT(found, Contains("waits in event::wait, until somebody calls set()"));
  CHECK_THAT(found, Contains("waits in condition_variable::wait, until somebody notifies"));
  CHECK_THAT(found, Contains("waits in mutex::lock, locked by a task that has ended\n"));
  CHECK_THAT(found, Contains("      late\n        one\n          other\n"));
}

// Faults that are planted, in programs that do not look for them.
TEST_CASE("sim: order and permits are checked at every step", "[sim]") {
  const auto first_with = [](roving::detail::planted fault, void (*program)()) {
    return failure_of([&] {
      sim::exploration how;
      how.seeds = 200;
      how.shrink = false;
      how.each.planted = fault;
      sim::explore(how, program);
    });
  };
  CHECK_THAT(first_with(roving::detail::planted::inbox_newest_first, roving_test::scenarios::exclusion),
             Contains("overtook what was sent before (D6)"));
  CHECK_THAT(first_with(roving::detail::planted::semaphore_permit_lost, roving_test::scenarios::permit_handed_over),
             Contains("a semaphore has lost or doubled a permit"));
}

TEST_CASE("sim: errors of a program are failures of the run", "[sim]") {
  CHECK_THAT(failure_of([] { sim::run({}, [] { throw std::runtime_error{"mine"}; }); }),
             Contains("the program threw: mine"));
  CHECK_THAT(failure_of([] {
               sim::run({}, [] {
                 roving::spawn([] { throw std::runtime_error{"nobody looks"}; }).detach();
                 roving::yield();
               });
             }),
             Contains("nobody looks"));
  CHECK_THAT(failure_of([] {
               sim::run({.steps_at_most = 100'000}, [] {
                 for (;;) roving::yield();
               });
             }),
             Contains("no end after"));
  CHECK_THAT(failure_of([] { sim::run({.time_at_most = 1h}, [] { roving::sleep_for(2h); }); }),
             Contains("of virtual time"));
  CHECK_THAT(failure_of([] { sim::run({}, [] { sim::run({}, [] {}); }); }), Contains("inside another"));
}

// A client that tries again, beside a server that pauses.
TEST_CASE("sim: calls that find no descriptors and no memory are told of, and all goes on", "[sim]") {
  std::set<int> seen;
  unsigned served = 0;
  sim::exploration how;
  how.seeds = 200;
  how.each.network.no_resources = 60;
  CHECK_NOTHROW(sim::explore(how, [&] {
    const auto until_it_works = [&](auto&& attempt) {
      for (;;) {
        std::error_code error;
        attempt(error);
        if (!error) return;
        seen.insert(error.value());
        roving::sleep_for(10us);
      }
    };
    roving::tcp_listener listener;
    until_it_works([&](std::error_code& error) { listener = roving::tcp_listener{{"127.0.0.1", 0}, {}, error}; });
    roving::serve_options options;
    options.retry_after = 50us;
    options.on_accept_error = [&](const std::error_code& error) { seen.insert(error.value()); };
    options.on_error = [](const std::exception_ptr&) {};
    auto server = roving::spawn([&] {
      roving::serve(listener, options, [](roving::tcp_stream stream) {
        char byte = 0;
        while (stream.read_some({&byte, 1}) != 0) stream.write_all({&byte, 1});
      });
    });
    for (int i = 0; i < 3; ++i)
      until_it_works([&](std::error_code& error) {
        auto stream = roving::tcp_stream::connect(listener.local_endpoint(), error);
        char byte = 'x';
        if (!error) stream.write_all({&byte, 1}, error);
        if (!error) stream.read_exactly({&byte, 1}, error);
      });
    ++served;
    server.cancel();
    server.join();
  }));
  CHECK(served == 200);
  CHECK(seen.count(EMFILE) == 1);
  CHECK(seen.count(ENFILE) == 1);
  CHECK(seen.count(ENOBUFS) == 1);
  CHECK(seen.count(ENOMEM) == 1);
}

// Half of what is there comes along, or as few as were drawn.
TEST_CASE("sim: how many are stolen at once is drawn", "[sim]") {
  constexpr unsigned all = 24;
  std::uint64_t most = 0;
  unsigned ones_of_many = 0;
  for (std::uint64_t seed = 1; seed <= 600; ++seed) {
    sim::run({.seed = seed, .runtime = {.shards = 2, .deque_capacity = 64}}, [&] {
      roving::detail::atomic<bool> go{false};
      auto busy = roving::spawn(roving::on_shard(1), [&] {
        while (!go.load()) roving::detail::relax(0);
      });
      roving::yield();
      unsigned begun = 0;
      std::uint64_t first_batch = 0;
      std::vector<roving::task<void>> tasks;
      for (unsigned i = 0; i < all; ++i)
        tasks.push_back(roving::spawn(roving::anywhere, [&] {
          ++begun;
          const auto& here = *roving::detail::this_shard();
          if (here.index() != 1 || first_batch != 0) return;
          first_batch = here.counters().stolen;
          if (first_batch == 1 && begun <= all / 2) ++ones_of_many;
        }));
      go.store(true);
      for (auto& each : tasks) each.get();
      busy.get();
      most = std::max(most, first_batch);
    });
  }
  CHECK(most > all / 3);
  CHECK(ones_of_many > 52);  // some 40 by chance, as the owner takes others meanwhile
}

TEST_CASE("sim: a write may find no room where there is some, as a read may find nothing", "[sim]") {
  sim::options how;
  how.network.would_block = 300;
  how.trace = true;
  const sim::report done = sim::run(how, roving_test::scenarios::echo);
  CHECK_THAT(done.trace, Contains("send finds no room"));
}

TEST_CASE("sim: who waits without sleeping keeps nobody out, whatever is chosen", "[sim]") {
  const auto spin = [] {
    bool done = false;
    auto other = roving::spawn(roving::on_shard(1), [&] { done = true; });
    while (!done) roving::yield();
    other.get();
  };
  sim::options how;
  how.runtime.shards = 2;
  how.steps_at_most = 1'000'000;
  for (const sim::strategy each : {sim::strategy::random, sim::strategy::priorities, sim::strategy::round_robin}) {
    how.schedule = each;
    CHECK_NOTHROW(sim::explore({.seeds = 200, .each = how}, spin));
    how.choices = {0};  // never stops anybody by itself
    CHECK_NOTHROW(sim::run(how, spin));
    how.choices.clear();
  }
}

TEST_CASE("sim: shards that compute do so at once, and hold up their own tasks alone", "[sim]") {
  for (const sim::strategy each : {sim::strategy::drawn, sim::strategy::timed}) {
    sim::options how;
    how.runtime.shards = 4;
    how.schedule = each;
    roving::duration all_of_them{};
    roving::duration behind_one{};
    sim::run(how, [&] {
      const roving::time_point start = roving::now();
      std::vector<roving::task<void>> busy;
      for (unsigned shard = 1; shard < 4; ++shard)
        busy.push_back(roving::spawn(roving::on_shard(shard), [] { sim::spend(10ms); }));
      roving::spawn(roving::on_shard(1), [&] { behind_one = roving::now() - start; }).get();
      for (auto& task : busy) task.get();
      all_of_them = roving::now() - start;
    });
    CHECK(behind_one >= 10ms);
    CHECK(all_of_them >= 10ms);
    CHECK(all_of_them < 15ms);
  }
  CHECK_THROWS_AS(sim::spend(1ms), std::logic_error);
}

TEST_CASE("sim: with a core for each shard a wake-up takes what it costs", "[sim]") {
  const auto time_of_wake = [](roving::duration cost) {
    sim::options how;
    how.runtime.shards = 2;
    how.schedule = sim::strategy::timed;
    how.costs.wake = cost;
    roving::duration took{};
    sim::run(how, [&] {
      roving::sleep_for(10ms);  // shard 1 sleeps
      const roving::time_point rung = roving::now();
      roving::spawn(roving::on_shard(1), [&] { took = roving::now() - rung; }).get();
    });
    return took;
  };
  const roving::duration of_none = time_of_wake(0ns);
  CHECK(of_none > 0ns);
  CHECK(of_none < 1us);
  CHECK(time_of_wake(70us) >= 70us);
  CHECK(time_of_wake(70us) < 70us + 2 * of_none);
}

TEST_CASE("sim: with a core for each shard the same seed gives the same run", "[sim]") {
  const auto hash_of = [](std::uint64_t seed, std::optional<unsigned> shards) {
    sim::options how;
    how.seed = seed;
    how.runtime.shards = shards;
    how.schedule = sim::strategy::timed;
    return sim::run(how, roving_test::scenarios::exclusion).hash;
  };
  CHECK(hash_of(3, std::nullopt) == hash_of(3, std::nullopt));
  CHECK(hash_of(3, 100) == hash_of(3, 100));
}

TEST_CASE("sim: simulated plain threads wait as real ones do, and none is to be had outside", "[sim]") {
  int sum = 0;
  sim::run({.seed = 5}, [&] {
    roving::promise<int> promise;
    auto future = promise.get_future();
    sim::thread taker{[&] { sum = future.get(); }};
    sim::thread giver{[&] { promise.set_value(7); }};
    taker.join();
  });
  CHECK(sum == 7);
  CHECK_THROWS_AS(sim::thread{[] {}}, std::logic_error);
}

TEST_CASE("sim: the library built for simulation still runs programs for real", "[sim]") {
  int sum = 0;
  roving::run({.shards = 2}, [&] {
    auto [a, b] = roving::gather(
        roving::anywhere, [] { return 1; }, [] { return 2; });
    sum = a + b + roving::blocking([] { return 3; });
  });
  CHECK(sum == 6);
}

TEST_CASE("sim: two simulations on two threads do not know of each other", "[sim]") {
  const std::uint64_t alone = sim::run({.seed = 21}, roving_test::scenarios::exclusion).hash;
  std::uint64_t beside[2] = {};
  {
    std::jthread one{[&] { beside[0] = sim::run({.seed = 21}, roving_test::scenarios::exclusion).hash; }};
    std::jthread other{[&] { beside[1] = sim::run({.seed = 21}, roving_test::scenarios::exclusion).hash; }};
  }
  CHECK(beside[0] == alone);
  CHECK(beside[1] == alone);
}

TEST_CASE("sim: choices as text and back", "[sim]") {
  const std::vector<std::uint32_t> choices{0, 0, 0, 7, 1, 1, 12, 0, 0};
  CHECK(sim::to_text(choices) == "0x3,7,1x2,12");
  CHECK(sim::choices_from("0x3,7,1x2,12") == std::vector<std::uint32_t>{0, 0, 0, 7, 1, 1, 12});
  CHECK(sim::to_text({}) == "");
  CHECK(sim::choices_from("").empty());
  for (const char* const wrong : {"x", "1,", ",1", "1x", "1,,2", "-1", "1 2", "99999999999"})
    CHECK_THROWS_AS(sim::choices_from(wrong), std::invalid_argument);
}
