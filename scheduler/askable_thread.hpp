// A thread that can be asked what it is at, while it does something that never asks anybody: by a signal.
//
// The handler copies the registers and the stack (stack_trace.hpp), takes a reference to the task, and returns: it
// takes no lock, allocates nothing and calls into no library. All else is done by who asked.
//
//     asker: free -> asked, pthread_kill(), waits          handler, on the thread: asked -> answers
//       answered -> free                                     writes the answer
//       or, when it takes too long: asked -> free            answers -> answered
//
// I1  The answer belongs to the asker, but from `answers` to `answered` to the handler. One asks at a time (mutex_).
// I2  A signal that comes late finds no question, and does nothing; or it finds the next one, and answers that.
//
// [answer]  the handler stores answered, release -> the asker loads it, acquire.
//
// The signal is a real-time one that nobody used when the first runtime began; from the last one's end on it has its
// default action again. It has SA_RESTART, and still ends what never starts again (poll, nanosleep, and the like; see
// signal(7)): a stuck task that sleeps there sees EINTR. Rejected: to read the stack from outside without stopping the
// thread, as the registers can't be had.
//
// ThreadSanitizer delivers signals later and elsewhere, so in its builds nobody answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include <roving/detail/future_base.hpp>
#include <roving/detail/task_base.hpp>

#include "scheduler/stack_trace.hpp"

namespace roving::detail {

/// While one lives, threads answer. Any thread may make and destroy one.
class answering_handler {
 public:
  answering_handler() noexcept;
  answering_handler(const answering_handler&) = delete;
  answering_handler& operator=(const answering_handler&) = delete;
  ~answering_handler();
};

/// What a shard's thread said that it is at.
struct thread_answer {
  future_reference<task_base> task;  // null: the loop, or a callback
  std::uint64_t slices = 0;          // the shard's counter
  bool is_in_parker = false;         // has nothing to do
  bool has_stack = false;            // false in the middle of a switch
  stack_copy stack;
};

/// A shard's thread, as others ask it. Outlives the thread's stay on the shard.
class askable_thread {
 public:
  askable_thread() = default;
  askable_thread(const askable_thread&) = delete;
  askable_thread& operator=(const askable_thread&) = delete;

  /// The calling thread answers from now on, as the shard that it is. Until leave(), by the same thread.
  void enter() noexcept;
  void leave() noexcept;

  /// Whether a thread is between enter() and leave(), also where none answers. Any thread.
  [[nodiscard]] bool is_there() const noexcept { return is_there_.load(std::memory_order_acquire); }

  /// Any thread, the asked one too. Waits for the answer, for 100 ms at most. False when nobody is there, or nobody
  /// answers.
  [[nodiscard]] bool ask(thread_answer& answer) noexcept;

  /// For the handler.
  void answer(void* registers) noexcept;

 private:
  enum class phase : std::uint8_t { free, asked, answers, answered };

  struct place;  // which thread, and what its signal mask was

  std::atomic<bool> is_there_{false};
  std::mutex mutex_;
  std::shared_ptr<place> thread_;  // guarded by mutex_
  thread_answer* into_ = nullptr;  // I1
  std::atomic<phase> now_{phase::free};
};

}  // namespace roving::detail
