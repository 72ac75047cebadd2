// Tested: dump_tasks: what it says of tasks that wait in all kinds of ways, on all kinds of threads, and that it may be
// called at any time.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/has_stacks.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::Contains;

namespace {

using roving_test::has_stacks;
constexpr bool threads_answer = has_stacks && !roving::detail::thread_sanitizer;

[[gnu::noinline]] void wait_in_a_named_function(roving::event& what) {
  what.wait();
  asm volatile("");  // no tail call
}

[[gnu::noinline]] void spin_in_a_named_function(const std::atomic<bool>& until) {
  while (!until.load(std::memory_order_relaxed)) {
  }
  asm volatile("");
}

template <class Function>
auto named(const char* name, Function&& f) {
  return roving::spawn(roving::attributes{.name = name}, std::forward<Function>(f));
}

void let_all_run() {
  for (int i = 0; i < 5; ++i) roving::yield();
}

void until_parked(const std::string& name) {
  for (;;) {
    for (const roving::task_view& each : roving::all_tasks())
      if (each.name() == name && each.waits_in() != nullptr) return;
    roving::yield();
  }
}

// From the line of that task to the next task's.
std::string part_of(const std::string& text, const std::string& task) {
  const std::size_t begin = text.find("  task " + task + " (");
  if (begin == std::string::npos) return "no line for " + task + " in:\n" + text;
  return text.substr(begin, std::min(text.find("\n  task ", begin), text.find("\n  who waits", begin)) - begin);
}

}  // namespace

TEST_CASE("dump_tasks: each task is there with its name, site, placement, wait and stack", "[runtime][dump]") {
  const unsigned shards = GENERATE(1u, 2u);
  std::string text;
  roving::run({.shards = shards}, [&] {
    roving::event never;
    roving::mutex lock;
    roving::queue<int> items{1};
    const std::scoped_lock hold{lock};
    auto waiter = named("waiter", [&] { wait_in_a_named_function(never); });
    auto locker = named("locker", [&] { lock.lock(); });
    auto getter = named("getter", [&] { items.get(); });
    auto sleeper = named("sleeper", [] { roving::sleep_for(1h); });
    auto rover = roving::spawn(roving::attributes{.placement = roving::anywhere, .name = "rover"},
                               [&] { wait_in_a_named_function(never); });
    let_all_run();
    until_parked("rover");
    auto fresh = named("fresh", [] {});
    text = roving::dump_tasks();
  });
  CHECK_THAT(part_of(text, "waiter"),
             Contains("dump_tasks_test.cpp:") && Contains("pinned to shard 0") && Contains("waits in event::wait"));
  CHECK_THAT(part_of(text, "locker"), Contains("waits in mutex::lock"));
  CHECK_THAT(part_of(text, "getter"), Contains("waits in queue::get"));
  CHECK_THAT(part_of(text, "sleeper"), Contains("waits in sleep_for, 3599.") || Contains("waits in sleep_for, 3600."));
  CHECK_THAT(part_of(text, "rover"), Contains("roving, waits in event::wait"));
  CHECK_THAT(part_of(text, "fresh"), Contains("not started"));
  CHECK_THAT(text, Contains(shards == 1 ? "1 shard, 7 tasks" : "2 shards, 7 tasks"));
  if (has_stacks) {
    CHECK_THAT(part_of(text, "waiter"), Contains("wait_in_a_named_function"));
    CHECK_THAT(part_of(text, "rover"), Contains("wait_in_a_named_function"));
    CHECK_THAT(part_of(text, "locker"), Contains("roving::mutex::lock"));
  }
  if (threads_answer) {
    CHECK_THAT(text, Contains("shard 0 runs Task-1"));
    CHECK_THAT(part_of(text, "Task-1"), Contains("runs on shard 0") && Contains("roving::dump_tasks"));
  }
}

TEST_CASE("dump_tasks: who waits for whom is a tree", "[runtime][dump]") {
  std::string text;
  roving::run({.shards = 1}, [&] {
    roving::event never;
    auto last = named("last", [&] { never.wait(); });
    auto middle = named("middle", [&] { last.join(); });
    auto first = named("first", [&] { middle.get(); });
    auto family = named("parent", [&] {
      roving::with_task_group([&](roving::task_group& group) {
        for (const char* name : {"child one", "child two"})
          group.spawn(roving::attributes{.name = name}, [&] { never.wait(); });
      });
    });
    auto both = named("both", [&] { roving::gather(last, family); });
    let_all_run();
    text = roving::dump_tasks();
  });
  CHECK_THAT(text, Contains("waits in task::get for middle\n"));
  CHECK_THAT(text, Contains("waits in with_task_group for child one, child two\n"));
  CHECK_THAT(text, Contains("waits in gather for last, parent\n"));
  CHECK_THAT(text, Contains("    first\n      middle\n        last\n"));
  CHECK_THAT(text, Contains("    both\n      last\n      parent\n        child one\n        child two\n"));
}

TEST_CASE("dump_tasks: a circle is named", "[runtime][dump]") {
  const unsigned shards = GENERATE(1u, 2u);
  std::string text;
  roving::run({.shards = shards}, [&] {
    roving::task<void> one;
    roving::task<void> other;
    one = named("one", [&] { other.get(); });
    other = named("other", [&] { one.get(); });
    let_all_run();
    text = roving::dump_tasks();
    one.cancel();
  });
  CHECK_THAT(text, Contains("in a circle: one -> other -> one"));
}

TEST_CASE("dump_tasks: a generator's body and who asks it are one stack", "[runtime][dump]") {
  std::string text;
  roving::run({.shards = 1}, [&] {
    roving::event never;
    auto reader = named("reader", [&] {
      for (const int each : roving::generator<int>{[&](auto& yield_value) {
             wait_in_a_named_function(never);
             yield_value(1);
           }})
        (void)each;
    });
    let_all_run();
    text = roving::dump_tasks();
  });
  if (has_stacks) {
    CHECK_THAT(part_of(text, "reader"), Contains("wait_in_a_named_function"));
    CHECK_THAT(part_of(text, "reader"), Contains("generator_core::resume"));
  }
}

TEST_CASE("dump_tasks: who waits for a descriptor says which", "[runtime][dump]") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  std::string text;
  roving::run({.shards = 1}, [&] {
    auto reader = named("reader", [&] { roving::wait_readable(ends[0]); });
    let_all_run();
    text = roving::dump_tasks();
  });
  CHECK_THAT(part_of(text, "reader"), Contains("waits in wait_readable, descriptor " + std::to_string(ends[0])));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("dump_tasks: debug mode says how long each has been as it is", "[runtime][dump]") {
  std::string text;
  std::string without;
  const auto program = [](std::string& into) {
    roving::event never;
    auto waiter = named("waiter", [&] { never.wait(); });
    let_all_run();
    into = roving::dump_tasks();
  };
  roving::run({.shards = 1, .debug = true}, [&] { program(text); });
  roving::run({.shards = 1}, [&] { program(without); });
  CHECK_THAT(part_of(text, "waiter"), Contains("waits in event::wait, for "));
  CHECK_THAT(part_of(without, "waiter"), !Contains(", for "));
}

TEST_CASE("dump_tasks: a plain thread sees a runtime in which nothing goes on", "[runtime][dump]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  std::string text;
  roving::runtime all{{.shards = shards}};
  std::atomic<int> waiting{0};
  roving::event never;
  std::thread outside{[&] {
    while (waiting.load() < 2) std::this_thread::yield();
    // Until both are seen waiting: they say so before.
    for (text = all.dump_tasks(); text.find("stuck here (") == std::string::npos ||
         text.find("waits in event::wait", text.find("task stuck there (")) == std::string::npos ||
         text.find("waits in task::get") == std::string::npos;)
      text = all.dump_tasks();
    all.submit([&] { never.set(); }).get();
  }};
  all.run([&] {
    auto there =
        roving::spawn(roving::attributes{.placement = roving::on_shard(shards - 1), .name = "stuck there"}, [&] {
          waiting.fetch_add(1);
          wait_in_a_named_function(never);
        });
    auto here = named("stuck here", [&] {
      waiting.fetch_add(1);
      there.get();
    });
    here.get();
  });
  outside.join();
  CHECK_THAT(text, Contains("waits in task::get for stuck there"));
  if (has_stacks) CHECK_THAT(part_of(text, "stuck there"), Contains("wait_in_a_named_function"));
  all.close();
  CHECK(all.dump_tasks().empty());
}

TEST_CASE("dump_tasks: a plain thread sees what each shard runs, though none of them answers anybody else",
          "[runtime][dump]") {
  if (!threads_answer) return;
  roving::runtime all{{.shards = 2}};
  std::atomic<bool> seen{false};
  std::atomic<int> spinning{0};
  std::string text;
  std::thread outside{[&] {
    while (spinning.load() < 2) std::this_thread::yield();
    text = all.dump_tasks();
    seen = true;
  }};
  all.run([&] {
    auto there = roving::spawn(roving::attributes{.placement = roving::on_shard(1), .name = "there"}, [&] {
      spinning.fetch_add(1);
      spin_in_a_named_function(seen);
    });
    auto behind = named("behind", [] {});
    spinning.fetch_add(1);
    spin_in_a_named_function(seen);
    there.get();
  });
  outside.join();
  CHECK_THAT(text, Contains("shard 0 runs Task-1") && Contains("shard 1 runs there"));
  CHECK_THAT(part_of(text, "there"), Contains("runs on shard 1") && Contains("spin_in_a_named_function"));
  CHECK_THAT(part_of(text, "behind"), Contains("not started"));
}

TEST_CASE("dump_tasks: any time is a good time", "[runtime][dump][stress]") {
  const unsigned shards = GENERATE(1u, 4u);
  roving::runtime all{{.shards = shards}};
  std::atomic<bool> ends{false};
  std::atomic<int> dumps{0};
  std::thread outside{[&] {
    while (!ends.load()) {
      if (!all.dump_tasks().empty()) dumps.fetch_add(1);
    }
  }};
  all.run([&] {
    roving::mutex lock;
    roving::queue<int> items{4};
    roving::semaphore permits{2};
    const auto busy = [&] {
      for (int i = 0; i < 40; ++i) {
        { const std::scoped_lock hold{lock}; }
        items.put(i);
        permits.acquire();
        roving::yield();
        permits.release();
        items.get();
        roving::spawn(roving::anywhere, [] { roving::yield(); }).get();
        roving::sleep_for(std::chrono::microseconds{i});
      }
    };
    while (dumps.load() < 20) {
      roving::with_task_group([&](roving::task_group& group) {
        for (int i = 0; i < 8; ++i) group.spawn(roving::anywhere, busy);
        for (int i = 0; i < 4; ++i) group.spawn(busy);
        for (int i = 0; i < 4; ++i)
          group.spawn([&] {
            for (const int each : roving::generator<int>{[&](auto& yield_value) {
                   for (int n = 0; n < 20; ++n) {
                     roving::sleep_for(1us);
                     yield_value(n);
                   }
                 }})
              (void)each;
          });
      });
      (void)roving::dump_tasks();
    }
  });
  ends = true;
  outside.join();
  CHECK(dumps.load() >= 20);
}

TEST_CASE("dump_tasks: off every shard it throws", "[runtime][dump]") {
  CHECK_THROWS_AS(roving::dump_tasks(), roving::no_shard);
}
