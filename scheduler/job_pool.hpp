// Threads that are no shards' and run jobs: what blocking() and compute() ask of them, and how a task waits for one.
//
// A job's owner may take it back until a thread has it. Whoever closes a pool is told when the last job has ended by a
// ready node, so that a loop can go on meanwhile.
#pragma once

#include <cstddef>
#include <exception>
#include <utility>

#include <roving/detail/job.hpp>
#include <roving/detail/ready_node.hpp>

namespace roving::detail {

class job_pool {
 public:
  job_pool() = default;
  job_pool(const job_pool&) = delete;
  job_pool& operator=(const job_pool&) = delete;

  /// After join() or abandon(), or unused.
  virtual ~job_pool() = default;

  /// Queues `work`. False when the pool is closed; `work` is untouched then. Any thread.
  [[nodiscard]] virtual bool submit(job& work) noexcept = 0;

  /// Takes `work` back. False when a thread has it, or had it. Any thread, for as long as `work` is alive.
  [[nodiscard]] virtual bool withdraw(job& work) noexcept = 0;

  /// Refuses jobs from now on; those that it has are run. True when none is left; otherwise `when_ended` is made ready
  /// when that is so. Once; any thread.
  [[nodiscard]] virtual bool close(ready_node& when_ended) noexcept = 0;

  /// Blocks until all jobs have ended and their threads are gone. After close().
  virtual void join() noexcept = 0;

  /// Drops the jobs that no thread has begun, with `why`, and leaves those that run, and their threads, to themselves.
  /// After close(), whose ready node is not made ready any more; false when it was, or is about to be.
  [[nodiscard]] virtual bool abandon(const std::exception_ptr& why) noexcept = 0;
};

/// Jobs in the order in which they came. Guarded by its pool's lock.
class job_queue {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  void push_back(job& item) noexcept {
    item.previous = last_;
    item.next = nullptr;
    item.queued = true;
    (last_ != nullptr ? last_->next : first_) = &item;
    last_ = &item;
    ++size_;
  }

  void erase(job& item) noexcept {
    (item.previous != nullptr ? item.previous->next : first_) = item.next;
    (item.next != nullptr ? item.next->previous : last_) = item.previous;
    item.queued = false;
    --size_;
  }

  /// The oldest, or null.
  [[nodiscard]] job* pop_front() noexcept {
    job* const oldest = first_;
    if (oldest != nullptr) erase(*oldest);
    return oldest;
  }

  /// Takes all out, and drops them one after the other. No lock is held.
  static void drop_all(job_queue taken, const std::exception_ptr& why) noexcept {
    while (job* const item = taken.pop_front()) item->drop(*item, why);
  }

  [[nodiscard]] job_queue take_all() noexcept { return std::exchange(*this, job_queue{}); }

 private:
  job* first_ = nullptr;
  job* last_ = nullptr;
  std::size_t size_ = 0;
};

/// Runs invoke(argument) on a thread of `pool` while the current task is parked, and throws what it throws. What
/// `argument` points to stays the caller's: once a thread has begun, this returns only after it has ended; a cancel
/// that comes meanwhile is thrown then. A cancel that comes before takes the work back.
///
/// Throws no_shard, not_in_task, runtime_closed, `cancelled`; std::system_error when no thread can be had at all.
void call_in_pool(job_pool& pool, const char* call, void (*invoke)(void*), void* argument);

}  // namespace roving::detail
