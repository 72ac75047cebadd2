// A stack overflow says whose it was, instead of "Segmentation fault".
//
// The guard under a stack makes an overflow a fault (SIGSEGV; SIGBUS on some systems). The handler has no stack to run
// on but an alternate one, which every thread sets for itself. It asks whether the address lies in a guard, says so
// with write(2), puts the default action back and returns: the fault happens again, and the core dump shows the
// overflow and not the handler. Any other fault goes to whoever handled it before.
//
// Signal actions belong to the process, so the handler's state does too: it is the one exception to "no
// global state". It is reference counted, and the last reporter puts the previous action back.
//
// Sanitizers report overflows themselves and want the signal: in their builds both classes do nothing.

#pragma once

#include <cstddef>

namespace roving::detail {

// Filled while a thread stands in a signal handler: fixed room, always null-terminated. An empty name or file is left
// out of the report.
struct overflow_description {
  char task_name[96] = {};
  char file[256] = {};
  unsigned line = 0;
  std::size_t stack_size_bytes = 0;
  bool in_generator = false;  // the stack is that of a generator's body
};

// Copies at most `size_bytes - 1` characters and ends them with null. Async-signal-safe.
void copy_for_report(char* into, std::size_t size_bytes, const char* text) noexcept;

// While one lives, overflows are reported.
//
// Thread safety: any thread may make and destroy one.
class overflow_reporter {
 public:
  // Returns false when the address is in no guard that it knows. Runs in a signal handler, on the thread that faulted:
  // no lock, no allocation.
  using describe = bool (*)(const void* fault_address, overflow_description& out) noexcept;

  // All reporters that live at the same time must give the same function: it has no argument by which to tell runtimes
  // apart, and finds its runtime from the thread that it runs on. Errors: std::system_error.
  explicit overflow_reporter(describe ask);
  overflow_reporter(const overflow_reporter&) = delete;
  overflow_reporter& operator=(const overflow_reporter&) = delete;
  ~overflow_reporter();
};

// The stack on which the calling thread handles signals, while it lives. Restores the previous one.
//
// Thread safety: made and destroyed by the same thread, on that thread's own stack or any fiber's.
class alternate_signal_stack {
 public:
  // Without memory for it there is none, and an overflow ends the process without a word.
  alternate_signal_stack() noexcept;
  alternate_signal_stack(const alternate_signal_stack&) = delete;
  alternate_signal_stack& operator=(const alternate_signal_stack&) = delete;
  ~alternate_signal_stack();

 private:
  void* mapping_ = nullptr;
  std::size_t mapping_bytes_ = 0;
  void* previous_ = nullptr;  // address and size of what was there before
  std::size_t previous_bytes_ = 0;
  int previous_flags_ = 0;
};

}  // namespace roving::detail
