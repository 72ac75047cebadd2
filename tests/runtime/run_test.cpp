// Tested: run(): what comes out of it, runs inside runs, and what becomes of the tasks that main leaves behind. Tasks
// write down what they saw; the test's own thread checks it after run().
#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;
using names = std::vector<std::string>;

namespace {

// What the runtime reports, from whichever thread.
class reports {
 public:
  roving::options options(unsigned shards) {
    roving::options chosen;
    chosen.shards = shards;
    chosen.poll = roving::poll_policy::every_generation;
    chosen.on_unhandled = [this](const roving::unhandled& what) {
      std::string text;
      try {
        std::rethrow_exception(what.error);
      } catch (const std::exception& error) {
        text = error.what();
      } catch (...) {
        text = "?";
      }
      const std::lock_guard guard{mutex_};
      all_.push_back(what.message + ": " + what.task + ": " + text);
    };
    return chosen;
  }
  [[nodiscard]] names sorted() const {
    names all = all_;
    std::sort(all.begin(), all.end());
    return all;
  }
  [[nodiscard]] const names& in_order() const { return all_; }

 private:
  std::mutex mutex_;
  names all_;
};

roving::attributes named(const std::string& name, roving::placement where) {
  roving::attributes what;
  what.name = name;
  what.placement = where;
  return what;
}

std::string refusal_of_a_run() {
  try {
    roving::run([] {});
  } catch (const roving::broken_contract& error) {
    return error.what();
  }
  return "it ran";
}

}  // namespace

TEST_CASE("C119 run: returns what main returns: values, references, what can only be moved, nothing", "[run]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  CHECK(roving::run({.shards = shards}, [] { return 42; }) == 42);
  int referred = 1;
  roving::run({.shards = shards}, [&]() -> int& { return referred; }) = 7;
  CHECK(referred == 7);
  CHECK(*roving::run({.shards = shards}, [] { return std::make_unique<int>(3); }) == 3);
  roving::run({.shards = shards}, [] {});
}

TEST_CASE("C119 run: throws what main throws, the same object, and cancelled when it was cancelled", "[run]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  struct own_error : std::runtime_error {
    explicit own_error(const void** where) : std::runtime_error{"mine"}, place{where} {}
    const void** place;
  };
  const void* thrown_at = nullptr;
  const void* caught_at = nullptr;
  try {
    roving::run({.shards = shards}, [&] {
      try {
        throw own_error{&thrown_at};
      } catch (const own_error& error) {
        thrown_at = &error;
        roving::yield();
        throw;
      }
    });
  } catch (const own_error& error) {
    caught_at = &error;
  }
  CHECK(caught_at != nullptr);
  CHECK(caught_at == thrown_at);
  CHECK_THROWS_AS(roving::run({.shards = shards}, [] { throw 5; }), int);
  CHECK(thrown_by([&] {
          roving::run({.shards = shards}, [] {
            roving::this_task::cancel("m");
            roving::yield();
          });
        }) == "cancelled: m");
}

TEST_CASE("C119 run: inside a run it is an error, in a task as in a callback, and the outer one goes on", "[run]") {
  const place where = GENERATE(from_range(places()));
  std::string in_task;
  std::string in_callback;
  int in_thread = 0;
  bool goes_on = false;
  run_in(where, [&] {
    in_task = refusal_of_a_run();
    roving::event called;
    roving::post([&] {
      in_callback = refusal_of_a_run();
      called.set();
    });
    called.wait();
    in_thread = roving::blocking([] { return roving::run({.shards = 1}, [] { return 5; }); });  // that one is no shard
    goes_on = roving::spawn(at(where, 1), [] { return true; }).get();
  });
  CHECK(in_task.find("inside another") != std::string::npos);
  CHECK(in_callback.find("inside another") != std::string::npos);
  CHECK(in_thread == 5);
  CHECK(goes_on);
}

TEST_CASE("C120 shutdown: left-over tasks are cancelled in order of creation, and their cleanups run to the end",
          "[run]") {
  names order;
  reports unhandled;
  roving::run(unhandled.options(1), [&] {
    for (int i = 0; i < 3; ++i)
      roving::spawn([&order, i] {
        const std::string me = std::to_string(i);
        try {
          park();
        } catch (const roving::cancelled&) {
          order.push_back("cancelled " + me);
          for (int turn = 0; turn < 3 - i; ++turn) roving::yield();
          order.push_back("ended " + me);
          throw;
        }
      }).detach();
    roving::yield();
    roving::spawn([&] { order.emplace_back("just spawned"); }).detach();  // its turn comes before the run is over
    order.emplace_back("main ends");
  });
  CHECK(
      order ==
      names{"main ends", "just spawned", "cancelled 0", "cancelled 1", "cancelled 2", "ended 2", "ended 1", "ended 0"});
  CHECK(unhandled.in_order().empty());
}

TEST_CASE("C120 shutdown: what left-over tasks throw is reported once, in order of creation, as of the shutdown",
          "[run]") {
  reports unhandled;
  roving::run(unhandled.options(1), [] {
    for (const char* name : {"first", "second", "third"})
      roving::spawn(named(name, roving::here), [name] {
        if (thrown_by(park) != "cancelled") return;
        if (std::string{name} == "first") roving::yield();  // ends last
        throw error(std::string{name} + " failed");
      }).detach();
    roving::yield();
  });
  CHECK(unhandled.in_order() ==
        names{"unhandled exception during shutdown: first: first failed",
              "unhandled exception during shutdown: second: second failed",
              "unhandled exception during shutdown: third: third failed"});
}

TEST_CASE("C120 shutdown: wherever they are: errors are reported, cancels and values are not, main's outcome stays",
          "[run]") {
  const place where = GENERATE(from_range(places()));
  reports unhandled;
  std::atomic<int> ended{0};
  std::string thrown;
  thrown = thrown_by([&] {
    roving::run(unhandled.options(where.shards), [&] {
      for (unsigned i = 0; i < 12; ++i) {
        auto left = roving::spawn(named("left " + std::to_string(i / 3), at(where, i)), [&ended, i] {
          struct at_end {
            std::atomic<int>& counter;
            ~at_end() { ++counter; }
          } counts{ended};
          try {
            park();
          } catch (const roving::cancelled&) {
            roving::yield();
            if (i % 3 == 0) throw error("failed");
            if (i % 3 == 1) throw;
          }
        });
        wait_until_waiting(left);
        left.detach();
      }
      throw error("main failed");
    });
  });
  CHECK(thrown == "main failed");
  CHECK(ended == 12);
  names expected;
  for (int i = 0; i < 4; ++i)
    expected.push_back("unhandled exception during shutdown: left " + std::to_string(i) + ": failed");
  CHECK(unhandled.sorted() == expected);
}

TEST_CASE("C120 shutdown: tasks that cleanups spawn are cancelled too, and end before run returns", "[run]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> ended{0};
  roving::run({.shards = where.shards}, [&] {
    auto left = roving::spawn(at(where, 0), [&] {
      try {
        park();
      } catch (const roving::cancelled&) {
        std::atomic<bool> begun{false};
        roving::spawn(at(where, 1), [&] {
          begun = true;
          static_cast<void>(thrown_by(park));
          ++ended;
        }).detach();
        while (!begun) roving::yield();
        ++ended;
        throw;
      }
    });
    wait_until_waiting(left);
    left.detach();
  });
  CHECK(ended == 2);
}
