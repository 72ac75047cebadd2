// Tested: the timing wheel, alone, in made-up time. What it does is compared with a std::multimap, which orders by
// deadline and keeps equal ones as they were inserted.

#include "scheduler/timers.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <tuple>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using roving::detail::timer_batch;
using roving::detail::timer_node;
using roving::detail::timer_wheel;
using time_point = timer_node::time_point;
using std::chrono::nanoseconds;
using namespace std::chrono_literals;

constexpr nanoseconds tick{1 << 14};
constexpr time_point noon{1'000'000'000'000'000ns};  // some time, at no boundary

struct timer : timer_node {
  int id = 0;
};

// Node addresses must not change, so a vector is made once, with its size.
std::vector<timer> numbered(std::size_t count) {
  std::vector<timer> timers(count);
  for (std::size_t i = 0; i < count; ++i) timers[i].id = static_cast<int>(i);
  return timers;
}

std::vector<int> ids(timer_batch& batch) {
  std::vector<int> popped;
  while (timer_node* const node = batch.pop()) popped.push_back(static_cast<timer*>(node)->id);
  return popped;
}

std::vector<int> expired(timer_wheel& wheel, time_point now) {
  timer_batch batch = wheel.expire(now);
  return ids(batch);
}

using list = std::vector<int>;

TEST_CASE("timers: a new wheel is empty", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  CHECK(wheel.empty());
  CHECK(wheel.size() == 0);
  CHECK(wheel.next_deadline() == std::nullopt);
  CHECK(wheel.not_before() == std::nullopt);
  CHECK(expired(wheel, noon).empty());
  CHECK(expired(wheel, time_point::max()).empty());
  timer_node never_set;
  CHECK_FALSE(never_set.is_set());
  CHECK_FALSE(wheel.cancel(never_set));
}

TEST_CASE("timers: one expires at its deadline and no nanosecond before", "[scheduler][timers]") {
  const nanoseconds delay = GENERATE(1ns, 100ns, nanoseconds{tick - 1ns}, nanoseconds{tick}, nanoseconds{tick + 1ns},
                                     nanoseconds{1ms}, nanoseconds{1s}, nanoseconds{24h}, nanoseconds{24h * 365 * 200});
  CAPTURE(delay.count());
  timer_wheel wheel{noon};
  timer only;
  wheel.set(only, noon + delay);
  CHECK(only.is_set());
  CHECK(wheel.size() == 1);
  CHECK(wheel.next_deadline() == noon + delay);
  CHECK(expired(wheel, noon + delay - 1ns).empty());
  CHECK(only.is_set());
  CHECK(wheel.next_deadline() == noon + delay);
  CHECK(expired(wheel, noon + delay) == list{0});
  CHECK_FALSE(only.is_set());
  CHECK(wheel.empty());
  CHECK(expired(wheel, noon + delay).empty());
}

TEST_CASE("timers: one that is past when set expires next time", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(4);
  wheel.set(timers[0], noon);
  wheel.set(timers[1], noon - 1s);
  wheel.set(timers[2], time_point::min());
  wheel.set(timers[3], noon + 1ns);
  CHECK(wheel.next_deadline() == time_point::min());
  CHECK(expired(wheel, noon) == list{2, 1, 0});
  CHECK(wheel.next_deadline() == noon + 1ns);
  CHECK(expired(wheel, noon + 1ns) == list{3});
}

TEST_CASE("timers: a wheel goes from one end of time to the other", "[scheduler][timers]") {
  timer_wheel wheel{time_point::min()};
  std::vector<timer> timers = numbered(4);
  wheel.set(timers[0], time_point::max());
  wheel.set(timers[1], time_point{});
  wheel.set(timers[2], time_point{-1ns});
  wheel.set(timers[3], time_point::max() - 1ns);
  CHECK(wheel.next_deadline() == time_point{-1ns});
  CHECK(expired(wheel, time_point{-2ns}).empty());
  CHECK(expired(wheel, time_point{}) == list{2, 1});
  CHECK(wheel.next_deadline() == time_point::max() - 1ns);
  CHECK(expired(wheel, time_point::max() - 1ns) == list{3});
  CHECK(wheel.next_deadline() == time_point::max());
  CHECK(expired(wheel, time_point::max()) == list{0});
  wheel.set(timers[0], noon);  // long past by now, and fine
  CHECK(expired(wheel, noon - 1ns).empty());
  CHECK(expired(wheel, noon) == list{0});
}

TEST_CASE("timers: a batch is ordered by deadline, equal ones as they were set", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(8);
  wheel.set(timers[0], noon + 5s);
  wheel.set(timers[1], noon + 1s);
  wheel.set(timers[2], noon + 5s);
  wheel.set(timers[3], noon + 1s + 1ns);
  wheel.set(timers[4], noon + 5s);
  wheel.set(timers[5], noon + 1s);
  wheel.set(timers[6], noon + 9s);
  wheel.set(timers[7], noon + 5s - 1ns);
  wheel.cancel(timers[0]);
  wheel.set(timers[0], noon + 5s);  // set anew: behind its equals
  CHECK(expired(wheel, noon + 5s) == list{1, 5, 3, 7, 2, 4, 0});
  CHECK(expired(wheel, noon + 9s) == list{6});
}

TEST_CASE("timers: equal deadlines stay in order through cascades, however many", "[scheduler][timers]") {
  const std::size_t count = GENERATE(1u, 2u, 3u, 7u, 64u, 5000u);
  const nanoseconds delay = GENERATE(nanoseconds{50us}, nanoseconds{10min});
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(count);
  // Some are set when the deadline is far, some when it is near, so that they meet from different levels.
  const time_point deadline = noon + delay;
  list expected;
  for (std::size_t i = 0; i < count; ++i) {
    if (i == count / 2) CHECK(expired(wheel, noon + delay * 9 / 10).empty());
    wheel.set(timers[i], deadline);
    expected.push_back(static_cast<int>(i));
  }
  CHECK(expired(wheel, deadline - 1ns).empty());
  CHECK(expired(wheel, deadline) == expected);
}

TEST_CASE("timers: exact around the boundaries of every level", "[scheduler][timers]") {
  for (unsigned level = 0; level < 6; ++level) {
    const nanoseconds boundary = tick * (std::int64_t{1} << (8 * level));
    for (const std::int64_t multiple : {1, 2, 63, 64, 65}) {
      for (const nanoseconds off : {nanoseconds{-1}, nanoseconds{0}, nanoseconds{1}, -tick, tick}) {
        for (const nanoseconds start_off : {nanoseconds{-1}, nanoseconds{0}, nanoseconds{1}}) {
          if (boundary.count() > std::numeric_limits<std::int64_t>::max() / 2 / multiple) continue;
          CAPTURE(level, multiple, off.count(), start_off.count());
          const time_point start = time_point{} + boundary + start_off;  // beside a boundary of that level, too
          const time_point deadline = start + boundary * multiple + off;
          timer_wheel wheel{start};
          timer only;
          wheel.set(only, deadline);
          REQUIRE(wheel.next_deadline() == deadline);
          REQUIRE(expired(wheel, std::max(start, deadline - boundary)).empty() == (deadline > start));
          if (deadline <= start) continue;
          REQUIRE(expired(wheel, deadline - 1ns).empty());
          REQUIRE(wheel.next_deadline() == deadline);
          REQUIRE(expired(wheel, deadline) == list{0});
        }
      }
    }
  }
}

TEST_CASE("timers: small steps and one jump expire the same", "[scheduler][timers]") {
  const nanoseconds step = GENERATE(nanoseconds{1us}, nanoseconds{tick}, nanoseconds{333us}, nanoseconds{20ms});
  constexpr nanoseconds span = 20ms;
  std::mt19937_64 random{7};
  std::vector<timer> stepped = numbered(500), jumped = numbered(500);
  timer_wheel first{noon}, second{noon};
  for (std::size_t i = 0; i < stepped.size(); ++i) {
    const time_point deadline = noon + nanoseconds{random() % static_cast<std::uint64_t>(span.count())};
    first.set(stepped[i], deadline);
    second.set(jumped[i], deadline);
  }
  list one_by_one;
  std::ptrdiff_t early = 0, late = 0;
  for (time_point now = noon; now <= noon + span; now += step) {
    timer_batch batch = first.expire(now);
    while (timer_node* const node = batch.pop()) {
      early += node->deadline > now ? 1 : 0;
      late += node->deadline <= now - step ? 1 : 0;
      one_by_one.push_back(static_cast<timer*>(node)->id);
    }
  }
  CHECK(early == 0);
  CHECK(late == 0);
  CHECK(one_by_one == expired(second, noon + span));
  CHECK(one_by_one.size() == stepped.size());
}

TEST_CASE("timers: cancel tells whether it was set, and takes it out", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(3);
  for (timer& each : timers) wheel.set(each, noon + 1s);  // one slot: first, middle and last in its list
  const std::size_t cancelled = GENERATE(0u, 1u, 2u);
  CHECK(wheel.cancel(timers[cancelled]));
  CHECK_FALSE(timers[cancelled].is_set());
  CHECK_FALSE(wheel.cancel(timers[cancelled]));
  CHECK(wheel.size() == 2);
  list expected{0, 1, 2};
  expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(cancelled));
  CHECK(expired(wheel, noon + 1s) == expected);
  CHECK_FALSE(wheel.cancel(timers[0]));  // has fired
}

TEST_CASE("timers: one that is popped can be set again at once, and isn't in the same batch", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(2);
  wheel.set(timers[0], noon + 1us);
  wheel.set(timers[1], noon + 2us);
  timer_batch batch = wheel.expire(noon + 1ms);
  CHECK(wheel.empty());
  CHECK(batch.pop() == &timers[0]);
  CHECK_FALSE(timers[0].is_set());
  wheel.set(timers[0], noon);  // past, and yet for the next turn
  CHECK(wheel.size() == 1);
  CHECK(batch.pop() == &timers[1]);
  CHECK(batch.pop() == nullptr);
  CHECK(batch.empty());
  CHECK(expired(wheel, noon + 1ms) == list{0});
}

TEST_CASE("timers: one of a batch can cancel another of it", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(4);
  for (timer& each : timers) wheel.set(each, noon + 1us);
  timer later;
  wheel.set(later, noon + 1h);
  timer_batch batch = wheel.expire(noon + 1ms);
  CHECK(wheel.size() == 1);
  CHECK(wheel.next_deadline() == noon + 1h);
  CHECK(timers[1].is_set());  // it can still be stopped

  SECTION("the next, the last and a middle one") {
    CHECK(batch.pop() == &timers[0]);
    CHECK(wheel.cancel(timers[1]));
    CHECK_FALSE(timers[1].is_set());
    CHECK_FALSE(wheel.cancel(timers[1]));
    CHECK(wheel.cancel(timers[3]));
    CHECK(ids(batch) == list{2});
  }
  SECTION("the first, before anything is popped") {
    CHECK(wheel.cancel(timers[0]));
    CHECK(ids(batch) == list{1, 2, 3});
  }
  SECTION("all of them") {
    for (timer& each : timers) CHECK(wheel.cancel(each));
    CHECK(batch.empty());
    CHECK(batch.pop() == nullptr);
  }
  SECTION("itself, in vain") {
    CHECK(batch.pop() == &timers[0]);
    CHECK_FALSE(wheel.cancel(timers[0]));
    CHECK(ids(batch) == list{1, 2, 3});
  }
  SECTION("and set it again: it leaves the batch for the wheel") {
    CHECK(wheel.cancel(timers[2]));
    wheel.set(timers[2], noon + 2ms);
    CHECK(ids(batch) == list{0, 1, 3});
    CHECK(expired(wheel, noon + 2ms) == list{2});
  }
  CHECK(wheel.size() == 1);  // what is cancelled in a batch is not the wheel's to count
  CHECK(wheel.cancel(later));
}

TEST_CASE("timers: two batches are there at once", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(4);
  for (std::size_t i = 0; i < 4; ++i) wheel.set(timers[i], noon + nanoseconds{i < 2 ? 1 : 2});
  timer_batch earlier = wheel.expire(noon + 1ns);
  timer_batch later = wheel.expire(noon + 2ns);
  CHECK(wheel.cancel(timers[2]));
  CHECK(wheel.cancel(timers[1]));
  CHECK(ids(earlier) == list{0});
  CHECK(ids(later) == list{3});
}

TEST_CASE("timers: a batch takes over another, behind its own, and they can still be cancelled",
          "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(6);
  for (std::size_t i = 0; i < 6; ++i) wheel.set(timers[i], noon + nanoseconds{i < 3 ? 1 : 2});
  timer_batch kept;
  CHECK(kept.empty());
  CHECK(kept.pop() == nullptr);
  kept.splice(wheel.expire(noon));  // nothing into nothing
  CHECK(kept.empty());
  kept.splice(wheel.expire(noon + 1ns));  // and leaves nothing behind, or the other batch would not be let go

  SECTION("into an empty one") {
    CHECK(wheel.cancel(timers[0]));
    CHECK(wheel.cancel(timers[2]));
    CHECK(ids(kept) == list{1});
    CHECK(expired(wheel, noon + 2ns) == list{3, 4, 5});
  }
  SECTION("into one that has some") {
    kept.splice(wheel.expire(noon + 2ns));
    kept.splice(wheel.expire(noon + 3ns));  // nothing into some
    CHECK(wheel.cancel(timers[3]));         // on both sides of the seam
    CHECK(wheel.cancel(timers[2]));
    CHECK(wheel.cancel(timers[5]));
    CHECK(ids(kept) == list{0, 1, 4});
  }
}

TEST_CASE("timers: next_deadline is exact after cancels and expiry", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(5);
  wheel.set(timers[0], noon + 10s + 3ns);
  wheel.set(timers[1], noon + 10s + 2ns);
  wheel.set(timers[2], noon + 10s + 1ns);
  wheel.set(timers[3], noon + 40ns);
  wheel.set(timers[4], noon + 48h);
  CHECK(wheel.next_deadline() == noon + 40ns);
  wheel.cancel(timers[3]);
  CHECK(wheel.next_deadline() == noon + 10s + 1ns);
  wheel.cancel(timers[1]);  // not the earliest
  CHECK(wheel.next_deadline() == noon + 10s + 1ns);
  wheel.cancel(timers[2]);
  CHECK(wheel.next_deadline() == noon + 10s + 3ns);
  wheel.set(timers[1], noon + 10s);
  CHECK(wheel.next_deadline() == noon + 10s);
  CHECK(expired(wheel, noon + 10s) == list{1});
  CHECK(wheel.next_deadline() == noon + 10s + 3ns);
  wheel.cancel(timers[0]);
  CHECK(wheel.next_deadline() == noon + 48h);
  wheel.cancel(timers[4]);
  CHECK(wheel.next_deadline() == std::nullopt);
  wheel.set(timers[0], noon + 96h);  // what was known of timers that are gone is forgotten
  CHECK(wheel.next_deadline() == noon + 96h);
  wheel.cancel(timers[0]);
}

TEST_CASE("timers: whoever sleeps until not_before wakes seldom in vain", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  timer only, cancelled;
  wheel.set(only, noon + 24h);
  wheel.set(cancelled, noon + 1ms);
  wheel.cancel(cancelled);
  int turns = 0;
  list fired;
  while (!wheel.empty() && turns < 100) {
    ++turns;
    const time_point now = wheel.not_before().value();
    fired = expired(wheel, now);
    if (fired.empty()) REQUIRE(wheel.not_before().value() > now);
  }
  CHECK(fired == list{0});
  CHECK(turns <= 12);  // once for what was cancelled, once a level, once in time
}

TEST_CASE("timers: a clock that goes back only expires less", "[scheduler][timers]") {
  timer_wheel wheel{noon};
  std::vector<timer> timers = numbered(5);
  wheel.set(timers[0], noon + 1s);
  wheel.set(timers[1], noon + 3s);
  CHECK(expired(wheel, noon + 2s) == list{0});
  CHECK(expired(wheel, noon - 24h).empty());
  wheel.set(timers[2], noon + 1s);  // past for the wheel, yet to come for the clock
  wheel.set(timers[3], noon - 1s);
  wheel.set(timers[4], noon + 2s + 1ns);
  CHECK(wheel.next_deadline() == noon - 1s);
  CHECK(expired(wheel, noon) == list{3});
  CHECK(expired(wheel, noon + 1s - 1ns).empty());
  CHECK(wheel.next_deadline() == noon + 1s);
  CHECK(expired(wheel, noon + 1s) == list{2});
  CHECK(expired(wheel, noon + 2s).empty());
  CHECK(expired(wheel, noon + 3s) == list{4, 1});
}

// A wheel and a multimap that are told the same things.
class comparison {
 public:
  comparison(std::uint64_t seed, time_point start) : random_{seed}, now_{start}, wheel_{start} {}

  void set() {
    if (free_.empty()) return;
    const std::size_t index = take(free_);
    const time_point deadline = some_deadline();
    wheel_.set(timers_[index], deadline);
    where_[index] = expected_.emplace(deadline, index);
    used_.push_back(index);
  }

  void cancel() {
    if (used_.empty()) return;
    const std::size_t index = take(used_);
    REQUIRE(wheel_.cancel(timers_[index]));
    REQUIRE_FALSE(wheel_.cancel(timers_[index]));
    expected_.erase(where_[index]);
    free_.push_back(index);
  }

  void expire() {
    move_now();
    timer_batch batch = wheel_.expire(now_);
    check();  // what is in the batch doesn't count
    if (!wheel_.empty()) REQUIRE(wheel_.not_before().value() > now_);

    while (!batch.empty()) {
      if (random_() % 4 == 0) cancel_one_that_is_due();
      timer_node* const node = batch.pop();
      REQUIRE(due_.empty() == (node == nullptr));
      if (node == nullptr) break;
      REQUIRE(node == &timers_[due_.front()]);
      REQUIRE_FALSE(node->is_set());
      free_.push_back(due_.front());
      due_.erase(due_.begin());
      if (random_() % 4 == 0) set();  // as a timer's callback may
      if (random_() % 8 == 0) cancel();
    }
    REQUIRE(due_.empty());
  }

  // Before the wheel says what is due, the multimap must.
  void move_now() {
    switch (random_() % 6) {
      case 0:
        if (!expected_.empty()) now_ = std::max(now_, expected_.begin()->first);  // just so
        break;
      case 1:
        if (!expected_.empty() && expected_.begin()->first > time_point::min())
          now_ = std::max(now_, expected_.begin()->first - 1ns);
        break;
      case 2:
        now_ = moved(-some_span(40));
        break;
      default:
        now_ = moved(some_span(random_() % 64 == 0 ? 60 : 42));
    }
    while (!expected_.empty() && expected_.begin()->first <= now_) {
      const std::size_t index = expected_.begin()->second;
      due_.push_back(index);
      used_.erase(std::find(used_.begin(), used_.end(), index));
      expected_.erase(expected_.begin());
    }
  }

  void check() {
    REQUIRE(wheel_.size() == expected_.size());
    REQUIRE(wheel_.empty() == expected_.empty());
    if (expected_.empty()) {
      REQUIRE(wheel_.not_before() == std::nullopt);
      return;
    }
    REQUIRE(wheel_.not_before().value() <= expected_.begin()->first);
    if (random_() % 2 == 0)  // not always: it remembers what it finds
      REQUIRE(wheel_.next_deadline() == expected_.begin()->first);
  }

  void finish() {
    now_ = time_point::max();
    timer_batch batch = wheel_.expire(now_);
    for (const auto& [deadline, index] : expected_) REQUIRE(batch.pop() == &timers_[index]);
    REQUIRE(batch.empty());
    REQUIRE(wheel_.empty());
  }

  std::uint64_t random() { return random_(); }

 private:
  static constexpr std::size_t count = 100;

  void cancel_one_that_is_due() {
    if (due_.empty()) return;
    const std::size_t index = take(due_);
    REQUIRE(timers_[index].is_set());
    REQUIRE(wheel_.cancel(timers_[index]));
    REQUIRE_FALSE(timers_[index].is_set());
    free_.push_back(index);
  }

  std::size_t take(std::vector<std::size_t>& from) {
    const auto at = from.begin() + static_cast<std::ptrdiff_t>(random_() % from.size());
    const std::size_t index = *at;
    from.erase(at);
    return index;
  }

  // As often nanoseconds as years.
  nanoseconds some_span(std::uint64_t largest_bits) {
    return nanoseconds{static_cast<std::int64_t>(random_() >> (64 - random_() % largest_bits - 1))};
  }

  time_point moved(nanoseconds by) const {
    if (by > 0ns && now_ > time_point::max() - by) return time_point::max();
    if (by < 0ns && now_ < time_point::min() - by) return time_point::min();
    return now_ + by;
  }

  time_point some_deadline() {
    switch (random_() % 16) {
      case 0:
        return time_point::max();
      case 1:
        return moved(-some_span(62));
      case 2:
        return now_;
      case 3:
      case 4:
        if (!expected_.empty()) return expected_.begin()->first;  // equal to another
        return now_;
      case 5: {
        const auto bits = random_() % 50;  // at a boundary of the wheel
        const std::int64_t at = now_.time_since_epoch().count() >> bits;
        const std::int64_t last = std::numeric_limits<std::int64_t>::max() >> bits;
        return time_point{nanoseconds{(at < last ? at + 1 : last) << bits}};
      }
      default:
        return moved(some_span(62));
    }
  }

  std::mt19937_64 random_;
  time_point now_;
  timer_wheel wheel_;
  std::vector<timer> timers_ = numbered(count);
  std::multimap<time_point, std::size_t> expected_;  // in the wheel
  std::array<std::multimap<time_point, std::size_t>::iterator, count> where_;
  std::vector<std::size_t> due_;  // in the batch, in order
  std::vector<std::size_t> used_;
  std::vector<std::size_t> free_ = [] {
    std::vector<std::size_t> all(count);
    for (std::size_t i = 0; i < count; ++i) all[i] = i;
    return all;
  }();
};

TEST_CASE("timers: a wheel does what a multimap does", "[scheduler][timers]") {
  const std::uint64_t seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{41}));
  const time_point start = seed % 4 == 0 ? time_point::min()
      : seed % 4 == 1                    ? time_point{-5s}
      : seed % 4 == 2                    ? time_point{}
                                         : noon;
  CAPTURE(seed);
  comparison both{seed, start};
  for (int step = 0; step < 1000; ++step) {
    const std::uint64_t choice = both.random() % 8;
    if (choice < 4)
      both.set();
    else if (choice < 6)
      both.cancel();
    else
      both.expire();
    both.check();
  }
  both.finish();
}

TEST_CASE("timers: many thousands at random come out sorted", "[scheduler][timers]") {
  std::mt19937_64 random{3};
  std::vector<timer> timers(20000);
  timer_wheel wheel{noon};
  for (timer& each : timers) wheel.set(each, noon + nanoseconds{random() % 1'000'000});
  for (std::size_t i = 0; i < timers.size(); i += 3) wheel.cancel(timers[i]);

  timer_batch batch = wheel.expire(noon + 1ms);
  std::size_t popped = 0;
  std::size_t out_of_order = 0;
  const timer_node* previous = batch.pop();
  for (const timer_node* node = previous; node != nullptr; previous = node, node = batch.pop()) {
    ++popped;
    if (std::tie(node->deadline, node->sequence) < std::tie(previous->deadline, previous->sequence)) ++out_of_order;
  }
  CHECK(popped == timers.size() - (timers.size() + 2) / 3);
  CHECK(out_of_order == 0);
  CHECK(wheel.empty());
}

}  // namespace
