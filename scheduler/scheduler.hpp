// All shards of a runtime and what they share. The floor above (runtime/) gives it the seams and drives shard 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <roving/unhandled.hpp>

#include "scheduler/clock.hpp"
#include "scheduler/idle.hpp"
#include "scheduler/overflow.hpp"
#include "scheduler/overflow_queue.hpp"
#include "scheduler/parker.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/stack.hpp"
#include "scheduler/thread.hpp"

namespace roving::detail {

struct scheduler_options {
  unsigned shards = 1;
  std::vector<unsigned> cores;  // one for each shard, or empty: not pinned to cores
  std::size_t stack_size_bytes = default_stack_size_bytes;
  bool poll_every_generation = false;
  unsigned poll_every_tasks = 256;
  duration poll_every = std::chrono::microseconds{50};
  duration watch_interval = std::chrono::microseconds{500};
  duration search_for = std::chrono::microseconds{5};
  unsigned roving_per_turn = 64;
  std::size_t deque_capacity = 256;
  std::uint64_t seed = 1;
  clock_source* clock = &system_clock_source();
  thread_starter* threads = &system_thread_starter();
  std::function<std::unique_ptr<parker>(unsigned shard)> make_parker;
  unhandled_handler on_unhandled;
  duration shutdown_deadline = std::chrono::seconds{30};
  std::function<void(const std::string& names)> on_shutdown_stuck;  // empty: abort
};

class scheduler {
 public:
  explicit scheduler(scheduler_options options);
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;
  ~scheduler();  // after close()

  /// Is shard 0 on the calling thread until `main`, made by `begin` there, has ended, and for the rest of that generation.
  void run(const std::function<future_reference<task_base>()>& begin);

  /// Cancels all tasks, runs them to their end on the calling thread, stops the other shards. Idempotent.
  void close();

  [[nodiscard]] unsigned shard_count() const noexcept { return options_.shards; }
  [[nodiscard]] shard& at(unsigned index) noexcept { return *shards_[index]; }
  [[nodiscard]] const scheduler_options& options() const noexcept { return options_; }
  [[nodiscard]] idle_set& idle() noexcept { return idle_; }
  [[nodiscard]] overflow_queue<ready_node>& overflow() noexcept { return overflow_; }
  [[nodiscard]] stack_pool& stacks() noexcept { return stacks_; }
  [[nodiscard]] time_point now() const noexcept { return options_.clock->now(); }
  [[nodiscard]] bool is_stopping() const noexcept { return stopping_.load(std::memory_order_seq_cst); }
  [[nodiscard]] bool is_closed() const noexcept { return closed_.load(std::memory_order_acquire); }
  [[nodiscard]] bool is_draining() const noexcept { return draining_.load(std::memory_order_seq_cst); }

  /// Sends pinned work to shard 0 from any thread. False when the scheduler is closed.
  [[nodiscard]] bool send(ready_node& node, unsigned shard);

  /// Wakes a sleeper to search for roving work, if one sleeps and nobody searches.
  void call_searcher(unsigned from) noexcept;
  [[nodiscard]] bool work_is_visible() const noexcept;

  /// Tasks that are not done, in the order in which they were spawned. Any thread.
  [[nodiscard]] std::vector<future_reference<task_base>> live_tasks();
  [[nodiscard]] bool no_task_lives() const noexcept;

  /// Reports what nobody caught or fetched.
  void report(const unhandled& what) noexcept;

 private:
  class driver;  // is shard 0 for a while

  void cancel_all_and_wait();
  void stop_threads() noexcept;
  [[noreturn]] void give_up_shutdown();

  scheduler_options options_;
  idle_set idle_;
  overflow_queue<ready_node> overflow_;
  stack_pool stacks_;
  overflow_reporter overflow_reporter_;
  std::vector<std::unique_ptr<shard>> shards_;
  std::vector<std::unique_ptr<started_thread>> threads_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> draining_{false};
  std::atomic<bool> closed_{false};
  std::atomic<bool> driven_{false};
  spin_lock send_lock_;  // orders send() and close()
};

}  // namespace roving::detail
