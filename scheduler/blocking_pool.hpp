// Threads for work that blocks. They are started when there is work for them, and leave when there was none for a
// while.
//
// How it grows. A job that finds no idle thread starts one, unless one is on its way already. A thread that takes a
// job, the new one above all, and sees more jobs waiting than threads idle, starts the next. So there is one start at a
// time, and a thread is added only for a job that has waited for as long as a thread takes to start: many short jobs at
// once share a few threads, many long ones get a thread each, within the bound. No timer is needed for that, and no job
// waits behind a long one while there is room for another thread.
//
// How it shrinks. The thread that became idle last is called first, so that the others come to the end of their
// patience, also under a steady trickle of jobs.
//
// Rejected: growing by the age of the oldest job against a limit (somebody has to look at a clock while all threads are
// busy); handing a job to an idle thread directly (it could not be taken back until that thread has woken).
//
// I1  If more jobs are queued than threads are idle, a thread is on its way or the bound is reached.
// I2  Of the idle threads at least as many are called as jobs are queued, or all of them.
// I3  An idle thread leaves only if the queue is empty, which it sees under the lock: a job that relied on it is seen.
// I4  A thread's handle is joined by a thread that leaves later, or by join(); never by itself.
//
// One mutex guards everything: this is for work that takes longer than a mutex does.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <roving/time.hpp>

#include "scheduler/clock.hpp"
#include "scheduler/job_pool.hpp"
#include "scheduler/thread.hpp"

namespace roving::detail {

class blocking_pool final : public job_pool {
 public:
  struct settings {
    std::size_t threads_at_most = 64;
    duration idle_for = std::chrono::seconds{10};
    std::string thread_name = "roving-blocking";  // up to 15 characters are kept
    std::vector<unsigned> cores{};                // that its threads may use; empty: those of who starts them
    std::function<void(job&)> run_job{};          // calls run() or drop() of it; throws nothing. Empty: calls run()
    clock_source* clock = &system_clock_source();
    thread_starter* threads = &system_thread_starter();
  };

  /// Starts no thread.
  explicit blocking_pool(settings chosen);
  ~blocking_pool() override;

  [[nodiscard]] bool submit(job& work) noexcept override;
  [[nodiscard]] bool withdraw(job& work) noexcept override;
  [[nodiscard]] bool close(ready_node& when_ended) noexcept override;
  void join() noexcept override;
  [[nodiscard]] bool abandon(const std::exception_ptr& why) noexcept override;

  // --- of this moment; any thread

  [[nodiscard]] std::size_t threads() const noexcept;  // the one on its way included
  [[nodiscard]] std::size_t idle_threads() const noexcept;
  [[nodiscard]] std::size_t queued() const noexcept;

 private:
  struct worker;
  class state;
  std::shared_ptr<state> state_;  // the threads' too, since abandoned ones outlive the pool
};

}  // namespace roving::detail
