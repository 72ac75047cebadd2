// Tested: roving::select with queues, events, semaphores, futures, tasks and timers. Descriptors: tests/io.
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;
using namespace std::chrono_literals;
using roving::select;

namespace {

// An alternative that never comes true, and does something while the others stand in line but nothing has parked.
class while_enlisting : public roving::detail::select_operation {
 public:
  explicit while_enlisting(std::function<void()> what) : what_{std::move(what)} {}
  bool try_now() override { return false; }
  bool enlist(roving::detail::waiter&) noexcept override {
    what_();
    return true;
  }
  bool delist(roving::detail::waiter&, bool) noexcept override { return false; }

 private:
  std::function<void()> what_;
};

auto meanwhile(std::function<void()> what) {
  return roving::detail::select_case<while_enlisting, int (*)()>{[] { return -9; }, std::move(what)};
}

// What `f` throws, by name.
template <class Function>
std::string thrown_by(Function f) {
  try {
    f();
  } catch (const roving::cancelled&) {
    return "cancelled";
  } catch (const roving::queue_shut_down&) {
    return "queue_shut_down";
  } catch (const roving::not_in_task&) {
    return "not_in_task";
  } catch (const roving::broken_contract&) {
    return "broken_contract";
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing";
}

constexpr int nobody = -1;
const auto ignore = [](auto&&...) {};

}  // namespace

// --- what is chosen --------------------------------------------------------------------------------------------------

TEST_CASE("select: the first in the order of the arguments that can be done is done, and no other", "[sync][select]") {
  roving::queue<int> empty;
  roving::queue<int> first;
  roving::queue<int> second;
  roving::semaphore permits{1};
  first.put(1);
  second.put(2);
  std::vector<int> done;
  select(empty.on_get([&](int item) { done.push_back(10 + item); }),
         first.on_get([&](int item) { done.push_back(20 + item); }),
         second.on_get([&](int item) { done.push_back(30 + item); }), permits.on_acquire([&] { done.push_back(40); }));
  CHECK(done == std::vector<int>{21});
  CHECK(first.empty());
  CHECK(second.size() == 1);
  CHECK(permits.value() == 1);
}

TEST_CASE("select: it waits for what comes first, whatever that is", "[sync][select]") {
  const place where = GENERATE(from_range(places()));
  const int comes = GENERATE(0, 1, 2, 3, 4, 5);
  int chosen = nobody;
  bool intact = false;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> empty;
    roving::queue<int> full{1};
    full.put(0);
    roving::event flag;
    roving::semaphore permits{0};
    roving::promise<int> answer;
    const roving::future<int> asked = answer.get_future();
    roving::event may_end;
    const auto ends = roving::spawn([&] { may_end.wait(); });
    crew tasks{where};
    wait_until_parked(tasks.spawn([&] {
      chosen = select(empty.on_get([](int item) { return item; }), full.on_put(1, [] { return 1; }),
                      flag.on_set([] { return 2; }), permits.on_acquire([] { return 3; }),
                      asked.on_ready([&] { return asked.value(); }), ends.on_ready([] { return 5; }));
    }));
    if (comes == 0) empty.put(0);
    if (comes == 1) (void)full.get();
    if (comes == 2) flag.set();
    if (comes == 3) permits.release();
    if (comes == 4) answer.set_value(4);
    if (comes == 5) may_end.set();
    tasks.join();
    intact = full.size() == 1 && full.try_get() == (comes == 1 ? 1 : 0) && permits.value() == 0 && empty.empty();
    may_end.set();
    if (comes != 4) answer.set_value(0);
  });
  CHECK(chosen == comes);
  CHECK(intact);
}

TEST_CASE("select: it is the one that woke it that is done, and what came true later stays", "[sync][select]") {
  int chosen = nobody;
  std::size_t left = 0;
  int by_getter = nobody;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> a;
    roving::queue<int> b;
    const auto selects = roving::spawn(
        [&] { chosen = select(a.on_get([](int item) { return item; }), b.on_get([](int item) { return item; })); });
    roving::yield();
    const auto getter = roving::spawn([&] { by_getter = a.get(); });  // behind it in line
    roving::yield();
    b.put(1);
    a.put(2);
    a.put(3);
    selects.join();
    getter.join();
    left = a.size();
  });
  CHECK(chosen == 1);
  CHECK(by_getter == 2);
  CHECK(left == 1);
}

TEST_CASE("select: woken in vain it waits anew, behind the others", "[sync][select]") {
  int by_select = nobody;
  int by_main = nobody;
  int by_getter = nobody;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    roving::queue<int> other;
    const auto selects = roving::spawn(
        [&] { by_select = select(line.on_get([](int item) { return item; }), other.on_get(std::identity{})); });
    roving::yield();
    const auto getter = roving::spawn([&] { by_getter = line.get(); });
    roving::yield();
    line.put(1);
    by_main = line.get();
    roving::yield();
    line.put(2);
    getter.join();
    line.put(3);
    selects.join();
  });
  CHECK(by_main == 1);
  CHECK(by_getter == 2);
  CHECK(by_select == 3);
}

TEST_CASE("select: an event that is cleared at once, and a permit, are its own once it was woken", "[sync][select]") {
  bool set = false;
  bool acquired = false;
  bool passed = true;
  roving::run({.shards = 1}, [&] {
    roving::event flag;
    roving::semaphore permits{0};
    const auto waits = roving::spawn([&] { select(flag.on_set([&] { set = true; })); });
    const auto acquires = roving::spawn([&] { select(permits.on_acquire([&] { acquired = true; })); });
    roving::yield();
    flag.set();
    flag.clear();
    permits.release();
    passed = permits.try_acquire();
    waits.join();
    acquires.join();
  });
  CHECK(set);
  CHECK(acquired);
  CHECK_FALSE(passed);
}

TEST_CASE("select: what comes true while it gets in line is not missed", "[sync][select]") {
  const bool on_a_thread = GENERATE(false, true);
  std::vector<int> done;
  const auto body = [&] {
    roving::queue<int> line;
    roving::queue<int> full{1};
    roving::event flag;
    roving::semaphore permits{0};
    roving::promise<int> answer;
    const roving::future<int> asked = answer.get_future();
    full.put(0);
    const auto get = [](int item) { return item; };

    // Of one that is in line already, which is granted before anything has parked.
    done.push_back(select(line.on_get(get), meanwhile([&] { line.put(1); })));
    // Of one that is about to.
    done.push_back(select(meanwhile([&] { line.put(2); }), line.on_get(get)));
    done.push_back(select(meanwhile([&] { (void)full.get(); }), full.on_put(0, [] { return 3; })));
    done.push_back(select(meanwhile([&] { flag.set(); }), flag.on_set([] { return 4; })));
    done.push_back(select(meanwhile([&] { permits.release(); }), permits.on_acquire([] { return 5; })));
    done.push_back(select(meanwhile([&] { answer.set_value(6); }), asked.on_ready([&] { return asked.value(); })));
    // Of both: the one that was granted is done, and the other one not.
    done.push_back(select(permits.on_acquire([] { return 7; }), meanwhile([&] {
                            permits.release();
                            line.put(8);
                          }),
                          line.on_get(get)));
    done.push_back(line.get());
    done.push_back(static_cast<int>(permits.value()));
  };
  if (on_a_thread)
    body();
  else
    roving::run({.shards = 1}, body);
  CHECK(done == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 0});
}

TEST_CASE("select: the same queue twice, and both ends of one", "[sync][select]") {
  const place where = GENERATE(from_range(places()));
  int chosen = nobody;
  std::size_t left = 9;
  std::vector<int> both;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> line{1};
    crew tasks{where};
    wait_until_parked(tasks.spawn([&] {
      chosen = select(line.on_get([](int item) { return item; }), line.on_get([](int item) { return 10 + item; }));
    }));
    line.put(1);
    tasks.join();
    left = line.size();
    for (int i = 0; i < 4; ++i)
      select(line.on_put(i, [&] { both.push_back(-1); }), line.on_get([&](int item) { both.push_back(item); }));
  });
  CHECK(chosen == 1);
  CHECK(left == 0);
  CHECK(both == std::vector<int>{-1, 0, -1, 2});
}

// --- what it gives ---------------------------------------------------------------------------------------------------

TEST_CASE("select: it gives what the function returns, of a type that all have in common", "[sync][select]") {
  roving::queue<int> numbers;
  roving::queue<std::string> texts;
  roving::queue<std::unique_ptr<int>> owners;
  numbers.put(1);
  texts.put("two");
  owners.put(std::make_unique<int>(3));
  int kept = 5;

  const auto common = select(numbers.on_get([](int item) { return item; }), texts.on_get([](auto&&) { return 2.5; }));
  STATIC_REQUIRE(std::is_same_v<decltype(common), const double>);
  CHECK(common == 1.0);

  const auto whole = select(owners.on_get([](std::unique_ptr<int> item) { return item; }));
  CHECK(*whole == 3);

  int& reference = select(texts.on_get([&](std::string&&) -> int& { return kept; }));
  CHECK(&reference == &kept);

  STATIC_REQUIRE(std::is_void_v<decltype(select(numbers.on_get(ignore), roving::otherwise(ignore)))>);
}

TEST_CASE("select: otherwise() is done when nothing can be done at once", "[sync][select]") {
  roving::queue<int> line{1};
  const auto get = [&] { return select(line.on_get(std::identity{}), roving::otherwise([] { return nobody; })); };
  const auto put = [&] { return select(line.on_put(7, [] { return true; }), roving::otherwise([] { return false; })); };
  CHECK(get() == nobody);
  CHECK(put());
  CHECK_FALSE(put());
  CHECK(get() == 7);
  CHECK(select(roving::otherwise([] { return 3; })) == 3);
}

TEST_CASE("select: what does not count is not tried, and when nothing counts it is an error", "[sync][select]") {
  roving::queue<int> line;
  roving::semaphore permits{1};
  line.put(1);
  const auto choose = [&](bool get, bool acquire) {
    return select(line.on_get(std::identity{}).when(get), permits.on_acquire([] { return 2; }).when(acquire));
  };
  CHECK(choose(false, true) == 2);
  CHECK(choose(true, true) == 1);
  CHECK_THROWS_AS(choose(false, false), roving::broken_contract);
  CHECK(select(line.on_get(std::identity{}).when(false), roving::otherwise([] { return 3; })) == 3);
}

TEST_CASE("select: what was not put is still the caller's", "[sync][select]") {
  roving::queue<std::unique_ptr<int>> full{1};
  roving::queue<int> other;
  full.put(nullptr);
  other.put(1);
  auto mine = std::make_unique<int>(5);
  select(full.on_put(std::move(mine), ignore), other.on_get(ignore));
  REQUIRE(mine != nullptr);
  CHECK(*mine == 5);
  (void)full.get();
  select(full.on_put(std::move(mine), ignore), other.on_get(ignore));
  CHECK(mine == nullptr);
  CHECK(*full.get() == 5);
}

TEST_CASE("select: its function may suspend, throw, and destroy what was waited for", "[sync][select]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> suspended{0};
  std::string thrown;
  roving::run({.shards = where.shards}, [&] {
    auto line = std::make_unique<roving::queue<int>>();
    roving::event flag;
    crew tasks{where};
    wait_until_parked(tasks.spawn([&] {
      select(line->on_get([&](int) {
        line.reset();
        roving::yield();
        ++suspended;
      }),
             flag.on_set(ignore));
    }));
    line->put(1);
    tasks.join();
    wait_until_parked(tasks.spawn([&] {
      thrown = thrown_by([&] { select(flag.on_set([] { throw std::runtime_error{"by the function"}; })); });
    }));
    flag.set();
    tasks.join();
  });
  CHECK(suspended == 1);
  CHECK(thrown == "by the function");
}

// --- queues that are shut down, futures that fail
// ----------------------------------------------------------------------

TEST_CASE("C113 select: a queue that is shut down counts as ready, and throws", "[sync][select]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> thrown(3);
  int last = nobody;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> closed{1};
    roving::queue<int> empty;
    closed.put(1);
    closed.shutdown();
    last = select(empty.on_get(std::identity{}), closed.on_get(std::identity{}));
    thrown[0] = thrown_by([&] { select(empty.on_get(ignore), closed.on_get(ignore)); });
    thrown[1] = thrown_by([&] { select(closed.on_put(1, ignore), roving::otherwise(ignore)); });
    crew tasks{where};
    roving::queue<int> full{1};
    full.put(1);
    wait_until_parked(
        tasks.spawn([&] { thrown[2] = thrown_by([&] { select(full.on_put(2, ignore), empty.on_get(ignore)); }); }));
    full.shutdown();
    tasks.join();
  });
  CHECK(last == 1);
  CHECK(thrown == std::vector<std::string>(3, "queue_shut_down"));
}

TEST_CASE("select: a future that failed is ready, get() throws, and a cancel leaves it alone", "[sync][select]") {
  std::string thrown;
  bool was_cancelled = false;
  bool future_was_cancelled = true;
  roving::run({.shards = 1}, [&] {
    roving::promise<int> answer;
    roving::future<int> asked = answer.get_future();
    roving::event flag;
    const auto selects = roving::spawn([&] { select(asked.on_ready(ignore), flag.on_set(ignore)); });
    wait_until_parked(selects);
    selects.cancel();
    selects.join();
    was_cancelled = selects.cancelled();
    future_was_cancelled = asked.cancelled();
    answer.set_exception(std::make_exception_ptr(std::runtime_error{"failed"}));
    select(asked.on_ready([&] { thrown = thrown_by([&] { asked.get(); }); }));
  });
  CHECK(was_cancelled);
  CHECK_FALSE(future_was_cancelled);
  CHECK(thrown == "failed");
}

TEST_CASE("select: a task can't wait for itself", "[sync][select]") {
  std::string thrown;
  roving::run({.shards = 1}, [&] {
    roving::task<void> self;
    self = roving::spawn([&] { thrown = thrown_by([&] { select(self.on_ready(ignore)); }); });
    self.join();
  });
  CHECK(thrown == "broken_contract");
}

// --- time
// --------------------------------------------------------------------------------------------------------------

TEST_CASE("select: a timer expires, never early, and again until it is restarted", "[sync][select][timer]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> early{0};
  std::atomic<int> expired{0};
  std::atomic<bool> restarted{false};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    roving::queue<int> empty;
    for (int i = 0; i < 4; ++i) {
      tasks.spawn([&] {
        roving::timer alarm{2ms};
        for (int again = 0; again < 2; ++again) {
          select(empty.on_get(ignore), alarm.on_expiry([&] {
            ++expired;
            if (roving::now() < alarm.when()) ++early;
          }));
        }
        alarm.restart(1h);
        select(alarm.on_expiry(ignore), roving::otherwise([&] { restarted = true; }));
      });
    }
    tasks.join();
  });
  CHECK(expired == 8);
  CHECK(early == 0);
  CHECK(restarted);
}

TEST_CASE("select: of several timers the earliest is done, of equal ones the first", "[sync][select][timer]") {
  std::vector<int> done;
  roving::run({.shards = 1}, [&] {
    const roving::timer soon{1ms};
    const roving::timer as_soon{soon.when()};
    const roving::timer never{roving::time_point::max()};
    done.push_back(select(never.on_expiry([] { return 0; }), roving::after(1h).on_expiry([] { return 1; }),
                          soon.on_expiry([] { return 2; }), as_soon.on_expiry([] { return 3; })));
    done.push_back(select(as_soon.on_expiry([] { return 3; }), soon.on_expiry([] { return 2; })));
  });
  CHECK(done == std::vector<int>{2, 3});
}

// --- cancels
// -----------------------------------------------------------------------------------------------------------

TEST_CASE("select: a cancel that comes after it was woken passes on the item, the room and the permit",
          "[sync][select]") {
  std::vector<int> got;
  bool was_cancelled = true;
  int still_there = nobody;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    roving::queue<std::unique_ptr<int>> full{1};
    roving::semaphore permits{0};
    roving::event never;
    full.put(std::make_unique<int>(0));
    auto mine = std::make_unique<int>(1);
    const auto gets = roving::spawn([&] { select(never.on_set(ignore), line.on_get(ignore)); });
    const auto puts = roving::spawn([&] { select(never.on_set(ignore), full.on_put(std::move(mine), ignore)); });
    const auto acquires = roving::spawn([&] { select(never.on_set(ignore), permits.on_acquire(ignore)); });
    roving::yield();
    const auto next_getter = roving::spawn([&] { got.push_back(line.get()); });
    const auto next_putter = roving::spawn([&] { full.put(std::make_unique<int>(2)); });
    const auto next_acquirer = roving::spawn([&] {
      permits.acquire();
      got.push_back(3);
    });
    roving::yield();
    line.put(1);
    (void)full.get();
    permits.release();
    for (const auto* each : {&gets, &puts, &acquires}) each->cancel();
    for (const auto* each : {&gets, &puts, &acquires}) {
      each->join();
      was_cancelled = was_cancelled && each->cancelled();
    }
    next_getter.join();
    next_putter.join();
    next_acquirer.join();
    got.push_back(*full.get());
    still_there = mine ? *mine : nobody;
  });
  CHECK(was_cancelled);
  CHECK(got == std::vector<int>{1, 3, 2});
  CHECK(still_there == 1);
}

TEST_CASE("select: one that was cancelled, or done otherwise, holds up nobody behind it", "[sync][select]") {
  const place where = GENERATE(from_range(places()));
  const bool cancels = GENERATE(false, true);
  std::atomic<int> passed{0};
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> line;
    roving::semaphore permits{0};
    roving::event flag;
    crew tasks{where};
    wait_until_parked(
        tasks.spawn([&] { select(line.on_get(ignore), permits.on_acquire(ignore), flag.on_set(ignore)); }));
    wait_until_parked(tasks.spawn([&] { passed += line.get(); }));
    wait_until_parked(tasks.spawn([&] {
      permits.acquire();
      passed += 10;
    }));
    if (cancels)
      tasks[0].cancel();
    else
      flag.set();
    line.put(1);
    permits.release();
    tasks.join();
  });
  CHECK(passed == 11);
}

TEST_CASE("select: a cancel while it gets in line is thrown, and nothing is taken", "[sync][select]") {
  bool was_cancelled = false;
  std::size_t left = 0;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    roving::task<void> selects;
    selects = roving::spawn([&] {
      (void)select(line.on_get(std::identity{}), meanwhile([&] {
                     selects.cancel();
                     line.put(1);
                   }));
    });
    selects.join();
    was_cancelled = selects.cancelled();
    left = line.size();
  });
  CHECK(was_cancelled);
  CHECK(left == 1);
}

TEST_CASE("select: a cancel that is pending is thrown if it has to wait, and only then", "[sync][select]") {
  int got = nobody;
  std::string thrown;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    line.put(1);
    roving::task<void> selects;
    selects = roving::spawn([&] {
      selects.cancel();
      got = select(line.on_get(std::identity{}));
      thrown = thrown_by([&] { select(line.on_get(ignore)); });
    });
    selects.join();
  });
  CHECK(got == 1);
  CHECK(thrown == "cancelled");
}

TEST_CASE("C133 select: in no_cancel it is not cancelled, and goes on to wait", "[sync][select]") {
  const place where = GENERATE(from_range(places()));
  int got = nobody;
  std::string thrown;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> line;
    roving::event never;
    crew tasks{where};
    wait_until_parked(tasks.spawn([&] {
      {
        const roving::no_cancel hold;
        got = select(never.on_set([] { return nobody; }), line.on_get(std::identity{}));
      }
      thrown = thrown_by([] { roving::yield(); });
    }));
    tasks[0].cancel();
    line.put(1);
    tasks.join();
  });
  CHECK(got == 1);
  CHECK(thrown == "cancelled");
}

// --- where it may be called
// ----------------------------------------------------------------------------------------------

TEST_CASE("select: in a callback it works unless it has to wait", "[sync][select]") {
  int got = nobody;
  std::string thrown;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    line.put(1);
    roving::event over;
    roving::post([&] {
      got = select(line.on_get(std::identity{}));
      thrown = thrown_by([&] { select(line.on_get(ignore)); });
      over.set();
    });
    over.wait();
  });
  CHECK(got == 1);
  CHECK(thrown == "not_in_task");
}

TEST_CASE("select: threads and tasks select at both ends", "[sync][select]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(2000);
  roving::queue<int> there{2};
  roving::queue<int> back{2};
  roving::event stop;
  int expired = 0;
  std::thread thread{[&] {
    select(roving::after(1ms).on_expiry([&] { ++expired; }), stop.on_set(ignore));
    for (bool over = false; !over;) {
      std::optional<int> item;
      select(there.on_get([&](int got) { item = got; }), stop.on_set([&] { over = true; }),
             roving::after(1h).on_expiry(ignore));
      if (item) select(back.on_put(*item + 1, ignore), stop.on_set([&] { over = true; }));
    }
  }};
  int wrong = 0;
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    tasks.spawn([&] {
      for (int i = 0; i < turns; ++i) {
        select(there.on_put(i, ignore), stop.on_set(ignore));
        if (select(back.on_get(std::identity{}), stop.on_set([] { return nobody; })) != i + 1) ++wrong;
      }
    });
    tasks.join();
  });
  stop.set();
  thread.join();
  CHECK(wrong == 0);
  CHECK(expired == 1);
}

// --- races
// -------------------------------------------------------------------------------------------------------------

TEST_CASE("select: two that face each other over two queues neither hang nor do both", "[sync][select][stress]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(20'000);
  std::array<std::atomic<int>, 2> balance{};  // put less got, for each queue
  std::atomic<long> sum{0};
  long expected = 0;
  bool sizes_agree = false;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> a{1};
    roving::queue<int> b{1};
    crew tasks{where};
    // Each gives to one and takes from the other, which is the first it tries in turn.
    const auto exchange = [&](roving::queue<int>& to, roving::queue<int>& from, std::atomic<int>& given,
                              std::atomic<int>& taken) {
      for (int i = 0; i < turns; ++i) {
        const auto put = [&] {
          ++given;
          sum += i;
        };
        const auto get = [&](int item) {
          --taken;
          sum -= item;
        };
        if (i % 2 == 0)
          select(to.on_put(i, put), from.on_get(get));
        else
          select(from.on_get(get), to.on_put(i, put));
      }
    };
    for (int pair = 0; pair < 2; ++pair) {
      tasks.spawn([&] { exchange(a, b, balance[0], balance[1]); });
      tasks.spawn([&] { exchange(b, a, balance[1], balance[0]); });
    }
    // They may end up all putting, or all getting: whoever is left over is helped here.
    while (!tasks.done()) {
      select(a.on_get([&](int item) {
        --balance[0];
        sum -= item;
      }),
             b.on_get([&](int item) {
               --balance[1];
               sum -= item;
             }),
             roving::otherwise(ignore));
      roving::yield();
      select(a.on_put(1,
                      [&] {
                        ++balance[0];
                        ++sum;
                      }),
             roving::otherwise(ignore));
      roving::yield();
    }
    sizes_agree = a.size() == static_cast<std::size_t>(balance[0]) && b.size() == static_cast<std::size_t>(balance[1]);
    while (const auto item = a.try_get()) expected += *item;
    while (const auto item = b.try_get()) expected += *item;
  });
  CHECK(sizes_agree);
  CHECK(sum == expected);
}

TEST_CASE("select: of alternatives that come true on several shards at once exactly one is done",
          "[sync][select][stress]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(20'000);
  std::atomic<int> wrong{0};
  roving::run({.shards = where.shards}, [&] {
    for (int turn = 0; turn < turns; ++turn) {
      roving::queue<int> line;
      roving::queue<int> full{1};
      full.put(0);
      roving::semaphore permits{0};
      roving::promise<int> answer;
      const roving::future<int> asked = answer.get_future();
      roving::event flag;
      std::array<int, 5> done{};
      crew tasks{where};
      tasks.spawn([&] {
        select(line.on_get([&](int) { ++done[0]; }), full.on_put(1, [&] { ++done[1]; }),
               permits.on_acquire([&] { ++done[2]; }), asked.on_ready([&] { ++done[3]; }),
               flag.on_set([&] { ++done[4]; }));
      });
      tasks.spawn([&] { line.put(1); });
      tasks.spawn([&] { (void)full.get(); });
      tasks.spawn([&] { permits.release(); });
      tasks.spawn([&] { answer.set_value(1); });
      tasks.spawn([&] { flag.set(); });
      tasks.join();
      int sum = 0;
      for (const int each : done) sum += each;
      const bool intact = line.size() == static_cast<std::size_t>(1 - done[0]) &&
          full.size() == static_cast<std::size_t>(done[1]) && permits.value() == 1 - done[2];
      if (sum != 1 || !intact) ++wrong;
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("C112 select: of a million items through several queues none is lost and none comes twice, under cancels",
          "[sync][select][stress]") {
  const place where = GENERATE(from_range(places()));
  const int items = rounds(1'000'000);
  constexpr int producers = 3;
  std::vector<std::atomic<std::uint8_t>> taken(static_cast<std::size_t>(items));
  std::atomic<int> both{0};
  bool found_left = false;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> a{1};
    roving::queue<int> b{4};
    roving::lifo_queue<int> c{16};
    roving::semaphore permits{2};
    roving::event stop;
    crew putting{where};
    crew getting{where};
    for (int producer = 0; producer < producers; ++producer) {
      putting.spawn([&, producer] {
        int done = 0;
        for (int item = producer; item < items;) {
          const int before = done;
          const auto next = [&] {
            ++done;
            item += producers;
          };
          try {
            switch (item % 3) {
              case 0:
                select(a.on_put(item, next), b.on_put(item, next), c.on_put(item, next));
                break;
              case 1:
                select(c.on_put(item, next), a.on_put(item, next), b.on_put(item, next));
                break;
              default:
                select(b.on_put(item, next), c.on_put(item, next), a.on_put(item, next));
            }
          } catch (const roving::cancelled&) {
          }
          if (done > before + 1) ++both;
        }
      });
    }
    for (int consumer = 0; consumer < 4; ++consumer) {
      getting.spawn([&, consumer] {
        const auto take = [&](int item) { ++taken[static_cast<std::size_t>(item)]; };
        const auto release = [&] { permits.release(); };
        for (bool over = false; !over;) {
          try {
            if (consumer == 3)  // the permits come and go meanwhile
              select(permits.on_acquire(release), c.on_get(take), stop.on_set([&] { over = true; }));
            select(a.on_get(take), b.on_get(take), c.on_get(take), stop.on_set([&] { over = true; }),
                   roving::after(1h).on_expiry(ignore));
          } catch (const roving::cancelled&) {
          }
        }
      });
    }
    putting.wait_until_started();
    getting.wait_until_started();
    std::minstd_rand draw{17};
    while (!putting.done()) {
      crew& unlucky = draw() % 2 == 0 ? putting : getting;
      unlucky[draw() % unlucky.size()].cancel();
      for (auto pause = draw() % 4; pause > 0; --pause) roving::yield();
    }
    stop.set();
    getting.cancel_until_done(18);
    for (bool more = true; more;) {
      const auto take = [&](int item) { ++taken[static_cast<std::size_t>(item)]; };
      select(a.on_get(take), b.on_get(take), c.on_get(take), roving::otherwise([&] { more = false; }));
    }
    found_left = !a.empty() || !b.empty() || !c.empty() || permits.value() != 2;
  });
  int wrong = 0;
  for (const auto& count : taken) wrong += count == 1 ? 0 : 1;
  CHECK(wrong == 0);
  CHECK(both == 0);
  CHECK_FALSE(found_left);
}
