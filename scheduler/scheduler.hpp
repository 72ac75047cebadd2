// All shards of a runtime and what they share. The floor above (runtime/) gives it the seams and drives shard 0.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <roving/detail/atomic.hpp>
#include <roving/slow_slice.hpp>
#include <roving/stall.hpp>
#include <roving/unhandled.hpp>

#include "scheduler/askable_thread.hpp"
#include "scheduler/clock.hpp"
#include "scheduler/idle.hpp"
#include "scheduler/job_pool.hpp"
#include "scheduler/overflow.hpp"
#include "scheduler/overflow_queue.hpp"
#include "scheduler/parker.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/stack.hpp"
#include "scheduler/stall_watch.hpp"
#include "scheduler/thread.hpp"

namespace roving::detail {

struct scheduler_options {
  unsigned shards = 1;
  std::vector<unsigned> cores;         // one for each shard, or empty: not pinned to cores
  std::vector<unsigned> usable_cores;  // of threads that are no shards'; empty: those of who starts them
  std::size_t stack_size_bytes = default_stack_size_bytes;
  bool poll_every_generation = false;
  unsigned poll_every_tasks = 256;
  duration poll_every = std::chrono::microseconds{50};
  duration watch_interval = std::chrono::microseconds{500};
  duration search_for = std::chrono::microseconds{5};
  unsigned roving_per_turn = 64;
  std::size_t deque_capacity = 1024;
  unsigned steal_at_most = 32;
  unsigned enough_searchers = 0;  // 0: see basic_idle_set
  std::uint64_t seed = 1;
  clock_source* clock = &system_clock_source();
  thread_starter* threads = &system_thread_starter();
  stack_pool_options stacks{};
  std::function<std::unique_ptr<parker>(unsigned shard)> make_parker;
  unhandled_handler on_unhandled;
  duration shutdown_deadline = std::chrono::seconds{30};
  std::function<void(const std::string& names)> on_shutdown_stuck;  // empty: abort
  std::optional<duration> slow_slice;                               // debug mode: what takes longer is reported
  slow_slice_handler on_slow_slice;
  bool debug_thread_local_scan = false;  // in debug mode
  duration stall_threshold{};            // 0: no reports
  bool watchdog = false;
  stall_handler on_stall;
  unsigned blocking_threads_at_most = 64;
  duration blocking_idle_for = std::chrono::seconds{10};
  std::function<std::unique_ptr<job_pool>()> make_compute_pool;  // empty: compute() shares the blocking pool
  // For tests: called by a task that is about to leave its stack, with the lock held of what it waits for.
  std::function<void(task_base&)> on_suspension;
};

struct deadline_timer;

class scheduler {
 public:
  explicit scheduler(scheduler_options options);
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;
  ~scheduler();  // after close()

  /// Is shard 0 on the calling thread until the task that `begin` makes there has ended, and for the rest of that
  /// generation; or until shard 0 is stopped: that task is not done then.
  future_reference<task_base> run(const std::function<future_reference<task_base>()>& begin);

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

  /// For a callback that spawns a task and has counted it: whether close() will see that. Its shard's thread only.
  [[nodiscard]] bool callback_may_spawn() noexcept;

  /// Sends pinned work to a shard from any thread. False when the scheduler is closed.
  [[nodiscard]] bool send(ready_node& node, unsigned shard) noexcept;

  /// The way to a shard for who may outlive it.
  [[nodiscard]] const gate_reference& door(unsigned shard) const noexcept { return doors_[shard]; }

  /// The threads of blocking() and of compute(). Any thread.
  [[nodiscard]] const std::shared_ptr<job_pool>& blocking_jobs() const noexcept { return blocking_jobs_; }
  [[nodiscard]] const std::shared_ptr<job_pool>& compute_jobs() const noexcept {
    return compute_jobs_ ? compute_jobs_ : blocking_jobs_;
  }

  /// Wakes a sleeper to search for roving work, if one sleeps and nobody searches.
  void call_searcher(unsigned from) noexcept;
  [[nodiscard]] bool work_is_visible() const noexcept;

  /// Tasks that are not done, in the order in which they were spawned; those pinned to one shard, if it is given. Any
  /// thread; for one that is no shard of this scheduler: none when it is closed.
  [[nodiscard]] std::vector<future_reference<task_base>> live_tasks(std::optional<unsigned> pinned_to = {});
  [[nodiscard]] bool no_task_lives() const noexcept;

  /// Those tasks as text, see task_report.hpp. Any thread, under the same condition. Throws std::bad_alloc.
  [[nodiscard]] std::string describe_tasks();

  /// As above, with stacks, and with what each shard is at. Any thread.
  [[nodiscard]] std::string dump();

  /// Reports what nobody caught or fetched.
  void report(const unhandled& what) noexcept;

  /// The same; without memory for the texts, on stderr.
  void report_error(const char* message, const std::exception_ptr& error, const task_base* task = nullptr) noexcept;

  /// Reports what held its shard for too long. `task` is null for a callback.
  void report_slow(const task_base* task, spawn_site site, duration took, unsigned shard) noexcept;

  [[nodiscard]] stall_watch& stalls() noexcept { return stalls_; }
  void report_stall(const stall& what) noexcept;

  /// The thread that runs a shard, if one does, to be asked. As long as the scheduler lives.
  [[nodiscard]] askable_thread& thread_of(unsigned shard) noexcept { return askable_[shard]; }

 private:
  class driver;  // is shard 0 for a while
  class end_of_all;

  void cancel_all_and_wait();
  void close_generators();
  [[nodiscard]] bool has_generators() noexcept;
  void start_thread_of(unsigned index);
  void wait_for(end_of_all& all, deadline_timer& deadline);
  void pause(deadline_timer& deadline);
  template <class Attempt>
  auto when_there_is_memory(deadline_timer& deadline, Attempt attempt);
  void close_pools();
  void stop_threads() noexcept;
  void say_that_shutdown_is_stuck(deadline_timer& deadline);

  scheduler_options options_;
  idle_set idle_;
  overflow_queue<ready_node> overflow_;
  stack_pool stacks_;
  overflow_reporter overflow_reporter_;
  answering_handler answering_handler_;
  std::vector<askable_thread> askable_;  // one a shard
  stall_watch stalls_;
  std::vector<std::unique_ptr<shard>> shards_;
  std::vector<std::unique_ptr<started_thread>> threads_;
  atomic<bool> stopping_{false};
  atomic<bool> draining_{false};
  atomic<bool> closed_{false};
  atomic<bool> callbacks_may_spawn_{true};  // see close()
  atomic<bool> driven_{false};
  std::shared_ptr<job_pool> blocking_jobs_;  // theirs too who post to them from outside
  std::shared_ptr<job_pool> compute_jobs_;
  std::vector<gate_reference> doors_;  // one a shard; stay when the shards go
  context_reference context_of_main_;
};

/// What report() does without a handler; needs no memory. `task` may be empty.
void report_on_stderr(const char* message, const char* task, const std::exception_ptr& error) noexcept;

}  // namespace roving::detail
