// Where the tasks of a test run: on 1, 2 and 4 shards, pinned to them in turn, or roving.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"

namespace roving_test {

struct place {
  unsigned shards;
  bool is_roving;
};

inline std::vector<place> places() { return {{1, false}, {1, true}, {2, false}, {2, true}, {4, false}, {4, true}}; }

/// Rounds of a stress test: fewer where each costs ten times as much.
inline constexpr int rounds(int count) {
  return roving::detail::thread_sanitizer ? count / 5 : roving::detail::address_sanitizer ? count / 2 : count;
}

inline std::vector<int> numbers(int count) {
  std::vector<int> made(static_cast<std::size_t>(count));
  std::iota(made.begin(), made.end(), 0);
  return made;
}

/// Whether a task waits for something that can be claimed: neither running, ready nor done. A task that runs inline
/// what it waits for is one of them. What it wrote before may be read then, as long as nothing ends its wait.
inline bool is_parked(const roving::task_handle& handle) {
  auto& claims = roving::detail_access::state_of(handle, "is_parked").claims;
  std::uint64_t seen = 0;
  if (!claims.try_pin(seen)) return false;
  claims.unpin();
  return true;
}

/// For the order in which several begin to wait: an order that no clock makes.
inline void wait_until_parked(const roving::task_handle& handle) {
  while (!is_parked(handle)) roving::yield();
}

/// Tasks spread over the places of a run. Lives in the main task.
class crew {
 public:
  explicit crew(place where) : where_{where} {}

  template <class Function>
  roving::task<void>& spawn(Function function) {
    const roving::placement at = where_.is_roving ? roving::anywhere : roving::on_shard(next_++ % where_.shards);
    return tasks_.emplace_back(roving::spawn(at, [this, function = std::move(function)] {
      ++started_;
      function();
    }));
  }

  /// A task that is cancelled before it has started never runs: where that is not meant, wait for this.
  void wait_until_started() const {
    while (started_ < tasks_.size()) roving::yield();
  }

  roving::task<void>& operator[](std::size_t index) { return tasks_[index]; }
  [[nodiscard]] std::size_t size() const { return tasks_.size(); }

  /// Waits for all; fetches no error.
  void join() {
    for (auto& each : tasks_) each.join();
  }

  [[nodiscard]] bool done() const {
    for (const auto& each : tasks_)
      if (!each.done()) return false;
    return true;
  }

  /// Cancels one after the other, drawn at random, until all have ended. All have started then.
  void cancel_until_done(std::uint32_t seed) {
    wait_until_started();
    std::minstd_rand draw{seed};
    while (!done()) {
      tasks_[draw() % tasks_.size()].cancel();
      for (auto pause = draw() % 4; pause > 0; --pause) roving::yield();
    }
  }

 private:
  place where_;
  unsigned next_ = 0;
  std::atomic<std::size_t> started_{0};
  std::deque<roving::task<void>> tasks_;
};

}  // namespace roving_test
