// Tested: a clock that jumps ahead, as after a pause of a virtual machine. Each timer fires once, in order, none before
// its time, and a shard with nothing to do goes on sleeping.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "scheduler/clock.hpp"
#include "tests/faults/faults.hpp"
#include "tests/faults/seams.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using test::world;

namespace {

class jumping_clock final : public roving::detail::clock_source {
 public:
  roving::time_point now() noexcept override {
    return roving::detail::system_clock_source().now() + roving::duration{ahead_.load(std::memory_order_acquire)};
  }
  void jump(roving::duration by) { ahead_.fetch_add(by.count(), std::memory_order_release); }

 private:
  std::atomic<roving::duration::rep> ahead_{0};
};

roving::runtime make_runtime(const world& where, jumping_clock& clock) {
  return test::make_runtime(test::quiet(where),
                            [&](roving::detail::scheduler_options& seams) { seams.clock = &clock; });
}

// Between them all levels of a wheel, and several at a time.
const std::vector<roving::duration> spans{2ms,   2ms, 5ms, 70ms, 1s,      1s,       61s,       10min,
                                          59min, 1h,  3h,  24h,  24h * 2, 24h * 30, 24h * 365, 24h * 365 * 90};
const std::vector<roving::duration> jumps{3ms, 1s, 2min, 2h, 24h, 24h * 31, 24h * 366, 24h * 365 * 100};

}  // namespace

TEST_CASE("faults: each timer fires once, in order and never early, when the clock jumps", "[faults][clock]") {
  const test::bounded bound{30};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  jumping_clock clock;
  std::atomic<int> early{0};
  std::vector<std::atomic<int>> fired(spans.size());
  std::vector<std::atomic<int>> called(spans.size());
  std::vector<std::size_t> order;  // of the callbacks, which are this shard's
  std::vector<int> due_and_missing;
  {
    roving::runtime runtime = make_runtime(where, clock);
    runtime.run([&] {
      const roving::time_point start = roving::now();
      std::vector<roving::task<void>> sleepers;
      for (std::size_t i = spans.size(); i-- != 0;) {
        const auto sleep = [&, i] {
          roving::sleep_until(start + spans[i]);
          if (roving::now() < start + spans[i]) ++early;
          ++fired[i];
        };
        sleepers.push_back(where.is_roving ? roving::spawn(roving::anywhere, sleep) : roving::spawn(sleep));
      }
      for (std::size_t i = 0; i < spans.size(); ++i)
        roving::post_at(start + spans[i], [&, i] {
          if (roving::now() < start + spans[i]) ++early;
          ++called[i];
          order.push_back(i);
        });
      roving::yield();
      for (const roving::duration by : jumps) {
        clock.jump(by);
        const roving::time_point now = roving::now();
        for (std::size_t i = 0; i < spans.size(); ++i)
          if (start + spans[i] <= now)
            while (fired[i] == 0 || called[i] == 0) roving::yield();  // the test's bound is its end
      }
      for (auto& each : sleepers) each.get();
    });
  }
  CHECK(early == 0);
  for (std::size_t i = 0; i < spans.size(); ++i) {
    CHECK(fired[i] == 1);
    CHECK(called[i] == 1);
  }
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("faults: a jump of the clock makes no shard spin", "[faults][clock]") {
  const test::bounded bound{30};
  jumping_clock clock;
  std::uint64_t sleeps = 0;
  std::uint64_t polls = 0;
  roving::runtime runtime = make_runtime({1, false}, clock);
  runtime.run([&] {
    auto later = roving::spawn([] { roving::sleep_for(24h); });
    auto much_later = roving::spawn(roving::anywhere, [] { roving::sleep_for(24h * 365); });
    roving::yield();
    clock.jump(23h);
    const roving::shard_counters before = runtime.counters()[0];
    roving::blocking([] {
      for (int i = 0; i < 20; ++i) std::this_thread::sleep_for(100us);  // time in which it could spin
    });
    const roving::shard_counters after = runtime.counters()[0];
    sleeps = after.sleeps - before.sleeps;
    polls = after.polls - before.polls;
  });
  INFO(sleeps << " sleeps, " << polls << " polls");
  CHECK(sleeps < 10);
  CHECK(polls < 10);
}

TEST_CASE("faults: a timeout and what it limits are both due after a jump of the clock", "[faults][clock]") {
  const test::bounded bound{30};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  jumping_clock clock;
  int timeouts = 0;
  int ends = 0;
  roving::semaphore permits{0};
  roving::runtime runtime = make_runtime(where, clock);
  test::run_in(runtime, where, [&] {
    for (int i = 0; i < 20; ++i) {
      auto limited = roving::spawn([&] {
        try {
          roving::with_timeout(1h, [&] { permits.acquire(); });
          ++ends;
        } catch (const roving::timeout_error&) {
          ++timeouts;
        }
      });
      auto giver = roving::spawn([&] {
        roving::sleep_for(1min);
        permits.release();
      });
      while (!limited.done() || !giver.done()) {
        roving::yield();
        clock.jump(2h);
      }
      limited.get();
      giver.get();
      if (permits.try_acquire()) --timeouts;  // the permit of who was too late
    }
  });
  CHECK(timeouts == 0);  // who had a timeout left the permit
  CHECK(ends + timeouts <= 20);
  CHECK(permits.value() == 0);
}
