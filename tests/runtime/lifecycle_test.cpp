// Tested: the beginning and the end of runtimes: misuse, several at once, many in turn, shutdown, and handles that
// outlive them.
#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;

namespace {

template <class Exception, class Function>
std::string text_of(Function&& f) {
  try {
    f();
  } catch (const Exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::size_t open_descriptors() {
  std::size_t open = 0;
  for (int candidate = 0; candidate < 1024; ++candidate)
    if (::fcntl(candidate, F_GETFD) != -1) ++open;
  return open;
}

}  // namespace

TEST_CASE("lifecycle: run returns what main returns, and throws what it throws", "[lifecycle]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  CHECK(roving::run({.shards = shards}, [] { return 42; }) == 42);
  int referred = 1;
  roving::run({.shards = shards}, [&]() -> int& { return referred; }) = 7;
  CHECK(referred == 7);
  CHECK_THROWS_AS(roving::run({.shards = shards}, [] { throw std::runtime_error{"from main"}; }), std::runtime_error);
  CHECK_THROWS_AS(roving::run({.shards = shards},
                              [] {
                                roving::this_task::cancel();
                                roving::yield();
                              }),
                  roving::cancelled);
}

TEST_CASE("lifecycle: misuse is a clear exception", "[lifecycle]") {
  CHECK(text_of<roving::no_shard>([] { (void)roving::spawn([] {}); }).find("spawn") != std::string::npos);
  CHECK(text_of<roving::not_in_task>([] { roving::yield(); }).find("yield") != std::string::npos);
  CHECK(text_of<roving::not_in_task>([] { roving::sleep_for(1ms); }).find("sleep_for") != std::string::npos);
  CHECK(text_of<std::invalid_argument>([] { roving::run({.shards = 0}, [] {}); }).find("shards") != std::string::npos);
  CHECK(text_of<std::invalid_argument>([] {
          roving::run({.stack_size_bytes = 100}, [] {});
        }).find("stack_size_bytes") != std::string::npos);
  CHECK(text_of<std::invalid_argument>([] { roving::run({.deque_capacity = 3}, [] {}); }).find("power of two") !=
        std::string::npos);
  std::string nested;
  std::string stack;
  std::string shard;
  bool goes_on = false;
  roving::run({.shards = 2}, [&] {
    nested = text_of<roving::broken_contract>([] { roving::run([] {}); });
    stack =
        text_of<std::invalid_argument>([] { (void)roving::spawn(roving::attributes{.stack_size_bytes = 1}, [] {}); });
    shard = text_of<std::out_of_range>([] { (void)roving::spawn(roving::on_shard(2), [] {}); });
    goes_on = roving::spawn([] { return true; }).get();
  });
  CHECK(nested.find("inside another") != std::string::npos);
  CHECK(stack.find("between") != std::string::npos);
  CHECK(shard.find("on_shard(2)") != std::string::npos);
  CHECK(goes_on);
}

TEST_CASE(
    "lifecycle: two runtimes in one process, started and stopped ten thousand times, leak no descriptor or thread",
    "[lifecycle]") {
  const int times = roving::detail::thread_sanitizer || roving::detail::address_sanitizer ? 500 : 10'000;
  const std::size_t before = open_descriptors();
  int sum = 0;
  for (int i = 0; i < times / 2; ++i) {
    roving::runtime first{{.shards = 2}};
    roving::runtime second{{.shards = 1}};
    sum += first.run([] { return roving::spawn(roving::on_shard(1), [] { return 1; }).get(); });
    sum += second.run([] { return 1; });
  }
  CHECK(sum == times / 2 * 2);
  CHECK(open_descriptors() == before);
}

TEST_CASE("lifecycle: two runtimes at once wake each other's tasks", "[lifecycle]") {
  roving::runtime first{{.shards = 2}};
  roving::runtime second{{.shards = 2}};
  roving::semaphore ping{0};
  roving::semaphore pong{0};
  int hops = 0;
  std::thread other{[&] {
    second.run([&] {
      for (int i = 0; i < 200; ++i) {
        ping.acquire();
        pong.release();
      }
    });
  }};
  first.run([&] {
    for (int i = 0; i < 200; ++i) {
      ping.release();
      pong.acquire();
      ++hops;
    }
  });
  other.join();
  CHECK(hops == 200);
}

TEST_CASE("lifecycle: what is left when main ends is cancelled and run to its end", "[lifecycle]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  std::atomic<int> cleaned{0};
  std::atomic<int> begun{0};
  roving::run({.shards = shards}, [&] {
    for (unsigned i = 0; i < 40; ++i)
      roving::spawn(i % 2 == 0 ? roving::anywhere : roving::on_shard(i % shards), [&] {
        ++begun;
        try {
          roving::sleep_for(1h);
        } catch (const roving::cancelled&) {
          roving::sleep_for(1us);                                    // cleanup may suspend
          auto late = roving::spawn([] { roving::sleep_for(1h); });  // and spawn
          late.detach();
          ++cleaned;
          throw;
        }
      }).detach();
    roving::yield();
  });
  CHECK(begun == cleaned);
}

TEST_CASE("lifecycle: a task that ignores its cancel is named when the deadline passes", "[lifecycle]") {
  std::string named;
  std::atomic<bool> give_in{false};
  roving::runtime all{{.shards = 1, .shutdown_deadline = 1ms, .on_shutdown_stuck = [&](const std::string& tasks) {
                         named = tasks;
                         give_in = true;  // and returns: close() waits on
                       }}};
  all.run([&] {
    roving::spawn(roving::attributes{.name = "stubborn"}, [&] {
      while (!give_in) {
        try {
          roving::sleep_for(1ms);
        } catch (const roving::cancelled&) {
        }
      }
    }).detach();
    roving::yield();
  });
  all.close();
  CHECK(named.find("stubborn") != std::string::npos);
  CHECK(named.find("lifecycle_test.cpp") != std::string::npos);
}

TEST_CASE("lifecycle: submit from plain threads, whose future they can block on", "[lifecycle]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  std::atomic<int> sum{0};
  roving::runtime all{{.shards = shards}};
  std::vector<std::thread> threads;
  all.run([&] {
    roving::event finished;
    std::atomic<int> left{4};
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        for (int n = 0; n < 25; ++n) sum += all.submit([] { return 1; }).get();
        for (int n = 0; n < 25; ++n) sum += all.submit(roving::anywhere, [] { return 1; }).get();
        try {
          all.submit([]() -> int { throw std::runtime_error{"refused"}; }).get();
        } catch (const std::runtime_error&) {
          ++sum;
        }
        if (--left == 0) finished.set();
      });
    finished.wait();
  });
  for (auto& each : threads) each.join();
  CHECK(sum == 4 * 51);
  all.close();
  CHECK_THROWS_AS(all.submit([] {}), roving::runtime_closed);
  CHECK_THROWS_AS(all.run([] {}), roving::runtime_closed);
}

TEST_CASE("lifecycle: handles and futures may outlive their runtime", "[lifecycle]") {
  roving::task<std::string> kept;
  roving::future<int> future;
  {
    roving::runtime all{{.shards = 2}};
    all.run([&] {
      kept = roving::spawn(roving::on_shard(1), [] { return std::string(100, 'x'); });
      kept.join();
    });
    future = all.submit([] { return 5; });  // never runs: nobody calls run() again
  }
  CHECK(kept.get() == std::string(100, 'x'));
  CHECK_THROWS_AS(future.get(), roving::runtime_closed);
}

TEST_CASE("lifecycle: 100,000 parked tasks", "[lifecycle]") {
  const int count = roving::detail::thread_sanitizer ? 2'000 : roving::detail::address_sanitizer ? 5'000 : 100'000;
  const unsigned shards = GENERATE(1u, 2u);
  std::atomic<int> woken{0};
  roving::run({.shards = shards, .stack_size_bytes = 64 * 1024}, [&] {
    roving::event go;
    std::vector<roving::task<void>> all;
    all.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
      all.push_back(roving::spawn(roving::on_shard(static_cast<unsigned>(i) % shards), [&] {
        go.wait();
        woken.fetch_add(1, std::memory_order_relaxed);
      }));
    while (go.waiting() < static_cast<std::size_t>(count)) roving::sleep_for(1ms);
    go.set();
    for (auto& each : all) each.join();
  });
  CHECK(woken == count);
}

TEST_CASE("lifecycle: a timed join that races with the end of its task touches nothing that is gone", "[lifecycle]") {
  const unsigned shards = GENERATE(2u, 4u);
  int rounds = 0;
  roving::run({.shards = shards}, [&] {
    for (int i = 0; i < 3000; ++i) {
      auto task = roving::spawn(roving::on_shard(1), [i] { roving::sleep_for(std::chrono::microseconds{i % 7}); });
      (void)task.join_for(std::chrono::microseconds{i % 11});
      std::byte frame[256];  // where the wait's own frame was
      std::fill(std::begin(frame), std::end(frame), std::byte{0x55});
      task.join();
      ++rounds;
    }
  });
  CHECK(rounds == 3000);
}
