// Tested: what the compiler believes of a thread, across a suspension after which the task is on another one. Built by
// every preset, and alone by those with -O3 and link-time optimization: that is where these go wrong.
#include <atomic>
#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/caught.hpp"
#include "tests/support/migrate.hpp"

namespace {

using roving_test::what_is_caught;
using roving_test::what_rethrows;

thread_local int of_this_thread = 0;

// What the documentation tells users to write: an accessor that the compiler can't see through.
[[gnu::noinline]] int& laundered() noexcept {
  int* place = &of_this_thread;
  asm volatile("" : "+r"(place));
  return *place;
}

struct suspends_when_destroyed {
  test::migrator* migrate;
  ~suspends_when_destroyed() { migrate == nullptr ? roving::yield() : (*migrate)(); }
};

}  // namespace

TEST_CASE("C134 migration: current_exception, throw; and uncaught_exceptions are the task's own", "[migration]") {
  constexpr int tasks = 100;
  const unsigned shards = GENERATE(2u, 4u);
  std::atomic<int> right{0};
  roving::run({.shards = shards}, [&] {
    test::migrator migrate;
    std::vector<roving::task<void>> all;
    for (int i = 0; i < tasks; ++i)
      all.push_back(roving::spawn(roving::anywhere, [&, i] {
        const std::string mine = "error " + std::to_string(i);
        bool good = std::uncaught_exceptions() == 0 && what_is_caught() == "nothing";
        try {
          throw std::runtime_error{mine};
        } catch (const std::runtime_error&) {
          for (int hop = 0; hop < 3; ++hop) {
            if (i % 10 == 0)
              migrate();
            else
              roving::yield();
            good = good && what_is_caught() == mine && what_rethrows() == mine && std::uncaught_exceptions() == 0;
          }
          try {
            throw std::logic_error{"inner"};
          } catch (const std::logic_error&) {
            roving::yield();
            good = good && what_is_caught() == "inner";
          }
          good = good && what_is_caught() == mine;
        }
        good = good && what_is_caught() == "nothing";
        if (good) ++right;
      }));
    for (auto& each : all) each.join();
  });
  CHECK(right == tasks);
}

TEST_CASE("C134 migration: a destructor that suspends while unwinding counts for its own task only", "[migration]") {
  constexpr int tasks = 40;
  std::atomic<int> right{0};
  std::atomic<int> seen_by_others{0};
  roving::run({.shards = 2}, [&] {
    test::migrator migrate;
    std::atomic<bool> stop{false};
    std::vector<roving::task<void>> bystanders;
    for (unsigned shard = 0; shard < 2; ++shard)
      bystanders.push_back(roving::spawn(roving::on_shard(shard), [&] {
        while (!stop) {
          if (std::uncaught_exceptions() != 0) ++seen_by_others;
          roving::sleep_for(std::chrono::microseconds{20});  // not a yield: only an idle shard takes others' work
        }
      }));
    std::vector<roving::task<void>> all;
    for (int i = 0; i < tasks; ++i)
      all.push_back(roving::spawn(roving::anywhere, [&, i] {
        try {
          const suspends_when_destroyed guard{i % 8 != 0 ? nullptr : &migrate};
          throw std::runtime_error{"unwinding"};
        } catch (const std::runtime_error& error) {
          if (std::string{error.what()} == "unwinding" && std::uncaught_exceptions() == 0) ++right;
        }
      }));
    for (auto& each : all) each.join();
    stop = true;
    for (auto& each : bystanders) each.join();
  });
  CHECK(right == tasks);
  CHECK(seen_by_others == 0);
}

TEST_CASE("C135 migration: a laundered thread-local is the one of the thread it is read on", "[migration]") {
  std::atomic<int> wrong{0};
  roving::run({.shards = 2}, [&] {
    test::migrator migrate;
    for (unsigned shard = 0; shard < 2; ++shard)
      roving::spawn(roving::on_shard(shard), [shard] { laundered() = 100 + static_cast<int>(shard); }).get();
    roving::spawn(roving::anywhere, [&] {
      for (int hop = 0; hop < 6; ++hop) {
        const int before = laundered();
        if (before != 100 + static_cast<int>(roving::this_task::shard())) ++wrong;
        migrate();
        if (laundered() != 100 + static_cast<int>(roving::this_task::shard()) || laundered() == before) ++wrong;
      }
    }).get();
    // A pinned task may read them as it likes.
    roving::spawn(roving::on_shard(1), [&] {
      const int* const place = &of_this_thread;
      for (int i = 0; i < 20; ++i) {
        roving::yield();
        if (place != &of_this_thread || *place != 101) ++wrong;
      }
    }).get();
  });
  CHECK(wrong == 0);
}

TEST_CASE("C135 migration: errno is the pinned task's own across a suspension", "[migration]") {
  std::atomic<int> wrong{0};
  roving::run({.shards = 2}, [&] {
    std::vector<roving::task<void>> all;
    for (int i = 1; i <= 20; ++i)
      all.push_back(roving::spawn(roving::on_shard(static_cast<unsigned>(i) % 2), [&, i] {
        for (int round = 0; round < 10; ++round) {
          errno = i;
          roving::yield();
          if (errno != i) ++wrong;
        }
      }));
    for (auto& each : all) each.join();
  });
  CHECK(wrong == 0);
}

TEST_CASE("C136 migration: this_shard() is never kept across a switch", "[migration]") {
  const unsigned shards = GENERATE(2u, 4u);
  std::atomic<int> wrong{0};
  roving::run({.shards = shards}, [&] {
    test::migrator migrate;
    std::vector<roving::task<void>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(roving::spawn(roving::anywhere, [&] {
        for (int hop = 0; hop < 5; ++hop) {
          roving::detail::shard* const before = roving::detail::this_shard();
          migrate();
          if (roving::detail::this_shard() == before) ++wrong;
          // A child goes to the queue of the shard that this is now: pinned there, it runs there.
          const unsigned now = roving::this_task::shard();
          auto child = roving::spawn(roving::here, [] { return roving::this_task::shard(); });
          if (std::move(child).get() != now) ++wrong;
        }
      }));
    for (auto& each : all) each.join();
  });
  CHECK(wrong == 0);
}

TEST_CASE("C136 migration: a generator's body and who asks it each know where they are after the other has moved",
          "[migration]") {
  std::atomic<int> wrong{0};
  roving::run({.shards = 2}, [&] {
    test::migrator migrate;
    for (unsigned shard = 0; shard < 2; ++shard)
      roving::spawn(roving::on_shard(shard), [shard] { laundered() = 100 + static_cast<int>(shard); }).get();
    const auto expect_moved = [&](unsigned from) {
      const unsigned now = roving::this_task::shard();
      if (now == from || laundered() != 100 + static_cast<int>(now)) ++wrong;
      if (roving::detail::this_shard() == nullptr || roving::detail::this_shard()->index() != now) ++wrong;
    };
    std::vector<roving::task<void>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(roving::spawn(roving::anywhere, [&] {
        roving::generator<unsigned> body{[&](auto& yield_value) {
          for (;;) {
            const unsigned before = roving::this_task::shard();
            migrate();
            expect_moved(before);
            const unsigned at_yield = roving::this_task::shard();
            try {
              yield_value(at_yield);
            } catch (const roving::generator_exit&) {
              expect_moved(at_yield);
              migrate();
              throw;
            }
            expect_moved(at_yield);
          }
        }};
        for (int hop = 0; hop < 5; ++hop) {
          const unsigned before = roving::this_task::shard();
          const unsigned came_from = *body.next();
          expect_moved(before);
          if (came_from != roving::this_task::shard()) ++wrong;
          migrate();
          expect_moved(came_from);
        }
      }));
    for (auto& each : all) each.join();
  });
  CHECK(wrong == 0);
}
