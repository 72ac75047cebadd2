// Where the tasks of a test run: on 1, 2 and 4 shards, pinned in turn or roving; and waiting for what they have come
// to, which needs no clock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <roving/roving.hpp>

#include "tests/sync/places.hpp"

namespace roving_test {

/// Where the task of that number runs.
inline roving::placement at(const place& where, unsigned number) {
  return where.is_roving ? roving::anywhere : roving::on_shard(number % where.shards);
}

/// Runs `body` in a task that is placed so. What nobody fetched is counted.
template <class Body>
int run_in(const place& where, Body body) {
  std::atomic<int> unhandled{0};
  roving::options chosen;
  chosen.shards = where.shards;
  chosen.on_unhandled = [&](const roving::unhandled&) { ++unhandled; };
  roving::run(chosen, [&] { roving::spawn(where.is_roving ? roving::anywhere : roving::here, [&] { body(); }).get(); });
  return unhandled;
}

/// Runs `body` on one shard in asyncio's order, generation by generation, timers and all.
template <class Body>
void run_in_order(Body body) {
  roving::run({.shards = 1, .poll = roving::poll_policy::every_generation}, body);
}

/// Chance that is the same in each run.
class dice {
 public:
  explicit dice(std::uint32_t seed) : engine_{seed} {}
  std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

 private:
  std::minstd_rand engine_;
};

/// A task that is parked cannot have been cancelled before its first step.
inline void wait_until_waiting(const roving::task_view& view) {
  while (view.waits_in() == nullptr && !view.done()) roving::yield();
}
inline void wait_until_waiting(const roving::task_handle& handle) { wait_until_parked(handle); }

/// Writes down in which generation something happens: counts its own, one a generation.
class generations {
 public:
  generations()
      : ticker_{roving::spawn([this] {
          while (!stop_) {
            ++count_;
            roving::yield();
          }
        })} {}
  ~generations() { stop_ = true; }
  [[nodiscard]] int now() const { return count_; }

 private:
  int count_ = 0;
  bool stop_ = false;
  roving::task<void> ticker_;
};

/// What `f` throws as text: its what(), "cancelled" with the message, or "nothing".
template <class Function>
std::string thrown_by(Function f) {
  try {
    f();
  } catch (const roving::cancelled& error) {
    return error.has_message() ? "cancelled: " + std::string{error.message()} : "cancelled";
  } catch (const roving::timeout_error&) {
    return "timeout";
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing";
}

/// The texts of the errors of a group; of a nested one in brackets.
inline std::string texts_of(const roving::exception_group& group) {
  std::string all;
  for (const std::exception_ptr& each : group.exceptions()) {
    if (!all.empty()) all += ' ';
    try {
      std::rethrow_exception(each);
    } catch (const roving::exception_group& nested) {
      all += '[' + texts_of(nested) + ']';
    } catch (const std::exception& error) {
      all += error.what();
    } catch (...) {
      all += '?';
    }
  }
  return all;
}

/// The errors that with_task_group() throws, as text; "cancelled", "nothing".
template <class Body>
std::string group_errors(Body body) {
  try {
    roving::with_task_group(body);
  } catch (const roving::exception_group& group) {
    return texts_of(group);
  } catch (const roving::cancelled&) {
    return "cancelled";
  }
  return "nothing";
}

inline std::runtime_error error(const std::string& text) { return std::runtime_error{text}; }

/// Parks for ever.
inline void park() { roving::sleep_for(std::chrono::hours{24}); }

/// Parks for ever, and takes `rounds` turns to end when it is cancelled.
inline void park_and_clean_up(int turns) {
  try {
    park();
  } catch (const roving::cancelled&) {
    for (int i = 0; i < turns; ++i) roving::yield();
    throw;
  }
}

}  // namespace roving_test
