// SIGINT, for a run() on the process's first thread: the first one cancels the main task, the second one does what
// SIGINT does by itself. As in asyncio, only where nobody has put a handler for it.
//
// The handler may run on any thread at any time, so all that it does is to send a message to shard 0, which is made of
// atomics and one write to a descriptor. It is installed to reset itself when it is called: so the second signal
// needs no code of ours, and comes through when the loop does not run any more.
#pragma once

#include <roving/detail/context_values.hpp>
#include <roving/detail/future_base.hpp>
#include <roving/detail/task_base.hpp>

namespace roving::detail {

class shard;

class interrupt_guard {
 public:
  interrupt_guard() noexcept;
  interrupt_guard(const interrupt_guard&) = delete;
  interrupt_guard& operator=(const interrupt_guard&) = delete;
  ~interrupt_guard();

  /// From now on SIGINT cancels `main`, which is pinned to `on`; unless this is not the process's first thread, or
  /// somebody has a handler.
  void watch(shard& on, task_base& main);

  /// Whether one came.
  [[nodiscard]] bool was_interrupted() const noexcept;

 private:
  struct message;
  counted_reference<message> message_;
};

}  // namespace roving::detail
