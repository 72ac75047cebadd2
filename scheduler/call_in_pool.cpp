// How a task waits for work on another thread. The work lies on the task's stack, so that the task leaves only when no
// thread can come near it any more: when it was withdrawn, or has ended.
#include <mutex>

#include <roving/blocking.hpp>
#include <roving/detail/context_values.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/detail/wait.hpp>
#include <roving/error.hpp>
#include <roving/no_cancel.hpp>

#include "scheduler/job_pool.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

// True when the current task has a cancel to throw.
bool deliver_pending(const char* call) { return current_task()->claims.is_pending() && yield_now(call); }

class parked_call : public job {
 public:
  parked_call(void (*invoke)(void*), void* argument) noexcept
      : job{&run_it, &drop_it}, invoke_{invoke}, argument_{argument} {}

  /// Parks the task until the work has ended, one way or the other, or the task is cancelled. A cancel is told of also
  /// when there was nothing to wait for any more: it does not depend on who was faster.
  [[nodiscard]] wait_end wait(const char* call) {
    waiter self{call};
    lock_.lock();
    if (has_ended_) {
      lock_.unlock();
      return deliver_pending(call) ? wait_end::cancelled : wait_end::event;
    }
    waits_ = &self;
    const wait_end end = park(self, lock_);
    const std::lock_guard guard{lock_};
    waits_ = nullptr;
    return end;
  }

  [[nodiscard]] bool has_ended() noexcept {
    const std::lock_guard guard{lock_};
    return has_ended_;
  }

  /// What the work threw, or why it was dropped; null otherwise. After it has ended.
  [[nodiscard]] std::exception_ptr take_error() noexcept { return std::move(error_); }

 private:
  static void run_it(job& base) noexcept {
    auto& self = static_cast<parked_call&>(base);
    try {
      const context_scope inside{std::move(self.context_)};
      self.invoke_(self.argument_);
    } catch (...) {
      self.error_ = std::current_exception();
    }
    self.end();
  }

  static void drop_it(job& base, const std::exception_ptr& why) noexcept {
    auto& self = static_cast<parked_call&>(base);
    self.error_ = why;
    self.end();
  }

  // The last that is seen of *this by the thread that did the work.
  void end() noexcept {
    ready_list wakes;
    {
      const std::lock_guard guard{lock_};
      has_ended_ = true;
      if (waits_ != nullptr) grant(*waits_, wakes);
    }
    make_ready(wakes);
  }

  void (*const invoke_)(void*);
  void* const argument_;
  context_reference context_ = capture_context();  // the caller's
  std::exception_ptr error_;

  // --- guarded by lock_
  spin_lock lock_;
  waiter* waits_ = nullptr;
  bool has_ended_ = false;
};

void report_lost(const std::exception_ptr& error, const task_base& task) noexcept {
  this_shard()->owner().report_error("exception of a call that was cancelled meanwhile", error, &task);
}

}  // namespace

void call_in_pool(job_pool& pool, const char* call, void (*invoke)(void*), void* argument) {
  task_base* const task = current_task();
  if (task == nullptr) throw not_in_task{call};
  if (deliver_pending(call)) throw_cancelled();  // before anything has begun

  parked_call work{invoke, argument};
  if (!pool.submit(work)) throw runtime_closed{call};
  if (work.wait(call) == wait_end::cancelled) {
    if (pool.withdraw(work)) throw_cancelled();
    if (!work.has_ended()) {
      const no_cancel hold;
      (void)work.wait(call);
    }
    task->claims.take_pending();  // a second cancel before the first was thrown is the same throw
    if (const std::exception_ptr error = work.take_error()) report_lost(error, *task);
    throw_cancelled();
  }
  if (std::exception_ptr error = work.take_error()) std::rethrow_exception(std::move(error));
}

void call_blocking(const char* call, void (*invoke)(void*), void* argument) {
  shard* const here = this_shard();
  if (here == nullptr) throw no_shard{call};
  call_in_pool(*here->owner().blocking_jobs(), call, invoke, argument);
}

}  // namespace roving::detail
