// Leaving one place of execution and entering another: the ground under every fiber.
//
// Switching is symmetric. Whoever leaves names whom it enters and jumps straight there; there is no
// scheduler's stack in between. What must not happen before a stack is left (unlocking the list in which its task
// waits, putting the task on a queue, freeing the stack) is handed over and done by the side that is entered.
//
//     leaver: a.switch_to(b, anchor, after, x)          b: returns from its own switch_to
//       sets its exception globals and errno aside        a's place is written down      [I1]
//       leaves a note on its stack, jumps  ------------>  b's exception globals come back
//                                                         after(x)                       [I2]
//                                                         b's errno comes back
//
// I1  A context's place is written by the side that is entered, before after() runs. Until then nobody may enter it.
// I2  Once after() has made the leaver known to others, its stack may be running elsewhere: nothing of the note is read
//     any more. after() is also the only place that may free the leaver's stack or context.
// I3  No function here asks for a thread-local. A compiler may take the address of one before the jump and use
//     it after, on another thread; no attribute stops all of them. What belongs to the thread comes in by the
//     anchor, which the side that leaves hands to the side that it enters.
//
// There are no atomics here. Who enters a context must have learned of it from its after(), through a lock or a queue
// that orders the two.
//
// Exception globals are swapped here and not by boost::context::fiber, whose releases either do not, or do so
// wrongly for fibers that migrate. errno goes with the fiber; on another thread it is set there too.
//
// Floating-point state: jump_fcontext carries the control words. It reloads MXCSR, which is slow (50 ns) on some
// processors when the sticky flags of both sides differ; agree_on_floating_point_flags() keeps them equal.

#pragma once

#include <cstddef>
#include <utility>

#include "scheduler/sanitizers.hpp"

namespace roving::detail {

struct stack;
struct stack_copy;

// What belongs to the thread and not to the fiber. One per thread, made at its start, so that a switch never
// asks for a thread-local.
struct thread_anchor {
  void* exception_globals = nullptr;  // __cxa_get_globals() of this thread; two words, see exception_globals_words
  int* errno_location = nullptr;

  // Thread safety: any thread; what it returns is of use to the calling one only, until that ends.
  static thread_anchor of_this_thread() noexcept;
};

// What the C++ ABI (Itanium, 2.2.2) keeps per thread. Both libstdc++ and libc++abi lay it out so, but for 32-bit Arm,
// which has a third word.
struct [[gnu::may_alias]] exception_globals_words {
  void* caught = nullptr;  // the stack of exceptions whose handlers run
  unsigned uncaught = 0;   // how many are on their way to a handler
};

inline exception_globals_words& exception_globals_of(const thread_anchor& anchor) noexcept {
  return *static_cast<exception_globals_words*>(anchor.exception_globals);
}

// std::uncaught_exceptions() of the thread that the anchor belongs to, without a call.
inline unsigned uncaught_exceptions_of(const thread_anchor& anchor) noexcept {
  return exception_globals_of(anchor).uncaught;
}

// Sets all sticky floating-point flags of the calling thread (x86-64: MXCSR; elsewhere there is nothing to do). Call it
// at the start of a thread that will switch; a new fiber does it by itself.
void agree_on_floating_point_flags() noexcept;

// errno of the calling thread, asked for anew at each call. Code that runs on a fiber reads errno by this after a
// system call: the compiler knows the address of `errno` to be constant, and may keep it over a switch to another
// thread.
[[nodiscard]] int current_errno() noexcept;

// Runs on the side that was entered. Must not switch.
using after_switch = void (*)(void* argument) noexcept;

// A place of execution that can be left and come back to: a thread's own stack, or a fiber's.
//
// Thread safety: none. One thread at a time has it, and whoever hands it to another orders the two (see above).
// Lifetime: stays where it is from prepare() or adopt_thread() until its last after() runs.
class context {
 public:
  // Starts a fiber; must leave by leave_for() and never return. `anchor` is that of the thread which entered first.
  using entry = void (*)(void* argument, thread_anchor& anchor) noexcept;

  context() noexcept = default;
  context(const context&) = delete;
  context& operator=(const context&) = delete;

  // Makes this a new fiber on `on`, which runs start(argument, anchor) when it is first entered. It starts with the
  // control words (rounding, x87 precision) of the calling thread, no exception and errno 0. May be called again after
  // leave_for()'s after().
  void prepare(stack& on, entry start, void* argument) noexcept;

  // Makes this stand for the calling thread's own stack. Once, by that thread, before it first leaves.
  void adopt_thread() noexcept;

  // Leaves *this, enters `to`, and runs after(argument) there: by then *this may be entered by any thread. Returns when
  // somebody enters *this again, with the anchor of the thread that did. Exception globals and errno are as they were.
  // `after` may be null. A thread's own context may be entered on its own thread only.
  thread_anchor& switch_to(context& to, thread_anchor& anchor, after_switch after, void* argument) noexcept;

  // The same for the last time: *this is a fiber that nobody enters again. after() may free or pool its stack and
  // destroy *this. No destructor of what is still on the stack runs.
  [[noreturn]] void leave_for(context& to, thread_anchor& anchor, after_switch after, void* argument) noexcept;

  // Copies what a fiber that was left has on its stack, which is `on`. Any thread, as long as the fiber lives. If
  // somebody enters it meanwhile the copy is rubbish, and nothing worse. False when it runs, or where stacks can't be
  // read.
  [[nodiscard]] bool copy_stack(const stack& on, stack_copy& into) const noexcept;

 private:
  friend struct crossing;  // context.cpp: the jump and what surrounds it

  void* place_ = nullptr;  // where the registers lie; null while it runs
  entry start_ = nullptr;
  void* argument_ = nullptr;
#if ROVING_ADDRESS_SANITIZER
  const void* lowest_ = nullptr;  // bounds of its stack; a thread's are learned when it is first left
  std::size_t size_bytes_ = 0;
#endif
#if ROVING_THREAD_SANITIZER
  void* tsan_fiber_ = nullptr;
  void* first_frame_ = nullptr;  // a jmp_buf; see context.cpp
  struct {
    context* to;
    thread_anchor* anchor;
    after_switch after;
    void* argument;
  } departure_{};  // outlives leave_for()'s frame
#endif
};

// An activation's own exception globals, for one that runs on the stack of another (a child run inline, a generator's
// body). Sets aside what the thread has and starts empty; restore() puts it back.
//
// Not undone by the destructor: the activation may have migrated, and only the caller knows the anchor of the thread it
// is on now.
class exception_globals_scope {
 public:
  explicit exception_globals_scope(thread_anchor& anchor) noexcept {
    exception_globals_words& globals = exception_globals_of(anchor);
    outer_caught_ = std::exchange(globals.caught, nullptr);
    outer_uncaught_ = std::exchange(globals.uncaught, 0U);
  }
  exception_globals_scope(const exception_globals_scope&) = delete;
  exception_globals_scope& operator=(const exception_globals_scope&) = delete;

  // `current` is the anchor of the calling thread. Once; every exception of the activation must be done with by then.
  void restore(thread_anchor& current) noexcept {
    exception_globals_words& globals = exception_globals_of(current);
    globals.caught = outer_caught_;
    globals.uncaught = outer_uncaught_;
  }

 private:
  void* outer_caught_;
  unsigned outer_uncaught_;
};

// What ThreadSanitizer wants to know of a stack: stack.cpp calls these when it makes and when it gives up one. Null and
// nothing in other builds.
[[nodiscard]] void* create_sanitizer_fiber() noexcept;
void destroy_sanitizer_fiber(void* fiber) noexcept;

}  // namespace roving::detail
