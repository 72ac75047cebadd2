// Tested: the spin lock and relax(). Threads count under the lock without atomics; the test's own thread checks after
// they are joined.

#include <roving/detail/relax.hpp>
#include <roving/detail/spin_lock.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using roving::detail::spin_lock;

TEST_CASE("spin_lock: is one byte and can be a constant", "[scheduler][spin_lock]") {
  STATIC_REQUIRE(sizeof(spin_lock) == 1);
  static constinit spin_lock lock;  // no constructor runs at start-up
  lock.lock();
  CHECK_FALSE(lock.try_lock());
  lock.unlock();
}

TEST_CASE("spin_lock: try_lock takes a free lock and refuses a held one", "[scheduler][spin_lock]") {
  spin_lock lock;
  REQUIRE(lock.try_lock());
  CHECK_FALSE(lock.try_lock());
  lock.unlock();
  CHECK(lock.try_lock());
  lock.unlock();
}

TEST_CASE("spin_lock: standard guards take it", "[scheduler][spin_lock]") {
  spin_lock lock;
  {
    const std::scoped_lock guard{lock};
    CHECK_FALSE(lock.try_lock());
  }
  {
    std::unique_lock guard{lock};
    guard.release()->unlock();  // how a parking fiber hands it to the other side
  }
  CHECK(lock.try_lock());
  lock.unlock();
}

TEST_CASE("spin_lock: one thread may unlock what another one locked", "[scheduler][spin_lock]") {
  spin_lock lock;
  lock.lock();
  int written_before = 1;
  std::thread other{[&] {
    written_before = 2;
    lock.unlock();
  }};
  lock.lock();  // not before the other has unlocked it, and it sees what the other wrote
  const int seen = written_before;
  lock.unlock();
  other.join();
  CHECK(seen == 2);
}

TEST_CASE("spin_lock: at most one thread holds it, with more threads than cores", "[scheduler][spin_lock]") {
  constexpr int threads = 6;
  constexpr int rounds = 5000;
  spin_lock lock;
  std::int64_t counted = 0;       // not atomic: the lock guards it
  std::array<int, 8> together{};  // all equal whenever the lock is free
  std::array<int, threads> torn{};

  std::vector<std::thread> workers;
  workers.reserve(threads);
  for (int i = 0; i < threads; ++i)
    workers.emplace_back([&, i] {
      for (int round = 0; round < rounds; ++round) {
        if (round % 4 != 0 || !lock.try_lock()) lock.lock();
        for (int& value : together) torn[static_cast<std::size_t>(i)] += value != together[0] ? 1 : 0;
        for (int& value : together) value = static_cast<int>(counted & 0xff);
        ++counted;
        lock.unlock();
      }
    });
  for (std::thread& worker : workers) worker.join();

  CHECK(counted == std::int64_t{threads} * rounds);
  CHECK(torn == std::array<int, threads>{});
}

TEST_CASE("relax: returns in early, late and last rounds", "[scheduler][spin_lock]") {
  int returned = 0;
  for (const unsigned iteration : {0u, 1u, 63u, 64u, 1000u, std::numeric_limits<unsigned>::max()}) {
    roving::detail::relax(iteration);
    ++returned;
  }
  CHECK(returned == 6);
}

}  // namespace
