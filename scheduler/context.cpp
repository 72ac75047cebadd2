// The one home of Boost.Context, of the exception globals and of the sanitizers' hooks. The contract is in context.hpp.
//
// What crosses a jump is a note, which lies on the stack that is left. It is read before after() is called, which may
// let the leaver run on (I2).
//
// AddressSanitizer must know which stack we are on, or it takes frames for overflows after a throw. The functions that
// jump are not instrumented: leave_for() gives up the fiber's fake stack, and a local of its own would go with it. What
// the frames of an ending fiber have poisoned is cleared by the compiler, since leave_for() is [[noreturn]].
//
// ThreadSanitizer keeps a shadow call stack per fiber, and ours are pooled. A fiber that leaves for the last time never
// returns from the functions that it is in, so their entries would stay and pile up until the shadow stack is full.
// Therefore it goes back to its first frame by longjmp(), which ThreadSanitizer follows, and leaves from there.
// Rejected: a new tsan fiber for each task (0.4 ms with g++).

#include "scheduler/context.hpp"

#include <cxxabi.h>
#include <cerrno>
#include <csetjmp>
#include <cstdlib>

#include <boost/context/detail/fcontext.hpp>
#include <roving/detail/assert.hpp>

#include "scheduler/stack.hpp"
#include "scheduler/stack_trace.hpp"

#if defined(__SSE__)
#  include <xmmintrin.h>
#endif
#if ROVING_ADDRESS_SANITIZER
#  include <sanitizer/common_interface_defs.h>
#endif
#if ROVING_THREAD_SANITIZER
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
}
#endif

// Clang's no_sanitize("thread") still reports the function's entry and exit, on two different fibers.
#if defined(__has_attribute) && defined(__clang__)
#  if __has_attribute(disable_sanitizer_instrumentation)
#    define ROVING_UNINSTRUMENTED \
      __attribute__((no_sanitize("address"), no_sanitize("thread"), disable_sanitizer_instrumentation))
#  endif
#endif
#if !defined(ROVING_UNINSTRUMENTED)
#  define ROVING_UNINSTRUMENTED __attribute__((no_sanitize("address"), no_sanitize("thread")))
#endif

namespace roving::detail {

namespace fcontext = boost::context::detail;

#if defined(__x86_64__) && defined(__LP64__) && !defined(BOOST_CONTEXT_SHADOW_STACK)
// jump_fcontext() comes back by a jump and not by a return, so calling it leaves one address too many on the
// processor's stack of expected returns: the return of every function up from here would be mispredicted (7 ns each).
// Without the call, and when the fiber that we enter left by the same path as we do, all are predicted.
//
// The push is safe: our callers call functions, so none keeps locals below the stack pointer.
[[gnu::always_inline]] ROVING_UNINSTRUMENTED inline fcontext::transfer_t jump_fcontext(fcontext::fcontext_t to,
                                                                                       void* note) noexcept {
  fcontext::transfer_t came;
  asm volatile(
      "leaq 1f(%%rip), %%rcx\n\t"
      "pushq %%rcx\n\t"
      "jmpq *%[jump]\n"
      "1:"
      : "=a"(came.fctx), "=d"(came.data), "+D"(to), "+S"(note)
      : [jump] "r"(&fcontext::jump_fcontext)
      : "rcx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
#  if defined(__AVX512F__)
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
        "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7",
#  endif
        "mm0", "mm1", "mm2", "mm3", "mm4", "mm5", "mm6", "mm7", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)",
        "st(6)", "st(7)", "cc", "memory");
  return came;
}
#else
using fcontext::jump_fcontext;  // returns by a return
#endif

struct crossing {
  struct note {
    context* left;
    context* entered;
    thread_anchor* anchor;
    after_switch after;
    void* argument;
  };

  // The last thing that happens on the side that leaves.
  ROVING_UNINSTRUMENTED static fcontext::transfer_t jump(context& to, note& leaving,
                                                         [[maybe_unused]] void** fake_stack) noexcept {
    ROVING_ASSERT(to.place_ != nullptr);  // nobody else has entered it, and it is not running
#if ROVING_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(fake_stack, to.lowest_, to.size_bytes_);
#endif
#if ROVING_THREAD_SANITIZER
    ROVING_ASSERT(to.tsan_fiber_ != nullptr);
    // 0: what happens before the switch happens before what comes after it. Tasks of one shard are ordered by being
    // there.
    __tsan_switch_to_fiber(to.tsan_fiber_, 0);
#endif
    return jump_fcontext(std::exchange(to.place_, nullptr), &leaving);
  }

  // The first thing that happens on the side that is entered.
  ROVING_UNINSTRUMENTED static const note& arrive(const fcontext::transfer_t& came,
                                                  [[maybe_unused]] void* fake_stack) noexcept {
    const note& from = *static_cast<const note*>(came.data);
    from.left->place_ = came.fctx;  // I1
#if ROVING_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(fake_stack, &from.left->lowest_, &from.left->size_bytes_);
#endif
    return from;
  }

  [[noreturn]] ROVING_UNINSTRUMENTED static void depart(context& from, context& to, thread_anchor& anchor,
                                                        after_switch after, void* argument) noexcept {
    note leaving{&from, &to, &anchor, after, argument};
    jump(to, leaving, nullptr);
    ROVING_ASSERT(false && "a fiber was entered after it had left for the last time");
    std::abort();
  }

  // Where a new fiber starts.
  [[noreturn]] ROVING_UNINSTRUMENTED static void start(fcontext::transfer_t came) noexcept {
#if defined(__x86_64__) && defined(__GCC_HAVE_DWARF2_CFI_ASM) && !defined(__clang__)  // not always in a clang build
    asm volatile(".cfi_undefined rip");  // debuggers and profilers end their traces here
#endif
    const note& from = arrive(came, nullptr);
    context& self = *from.entered;
    thread_anchor& here = *from.anchor;
    exception_globals_of(here) = exception_globals_words{};
    agree_on_floating_point_flags();
    if (from.after != nullptr) from.after(from.argument);  // I2: `from` is dead now
    *here.errno_location = 0;
    run(self, here);
  }

#if ROVING_THREAD_SANITIZER
  [[noreturn]] ROVING_UNINSTRUMENTED static void run(context& self, thread_anchor& anchor) noexcept {
    std::jmp_buf first_frame;
    context* volatile kept = &self;  // survives the longjmp
    self.first_frame_ = &first_frame;
    if (setjmp(first_frame) == 0) {
      self.start_(self.argument_, anchor);
      ROVING_ASSERT(false && "a fiber's entry returned");
    }
    context& ending = *kept;
    depart(ending, *ending.departure_.to, *ending.departure_.anchor, ending.departure_.after,
           ending.departure_.argument);
  }
#else
  [[noreturn]] ROVING_UNINSTRUMENTED static void run(context& self, thread_anchor& anchor) noexcept {
    self.start_(self.argument_, anchor);
    ROVING_ASSERT(false && "a fiber's entry returned");
    std::abort();
  }
#endif
};

// ---- What belongs to the thread -------------------------------------------------------------------------------

// Both functions are declared const, or are as good as that to the optimizer. The asm hides where the pointers come
// from, so that no compiler takes those of one call for those of another.
__attribute__((noinline)) thread_anchor thread_anchor::of_this_thread() noexcept {
  void* globals = abi::__cxa_get_globals();
  int* error = &errno;
  asm volatile("" : "+r"(globals), "+r"(error));
  return {globals, error};
}

__attribute__((noinline)) int current_errno() noexcept {
  int* error = &errno;
  asm volatile("" : "+r"(error));
  return *error;
}

void agree_on_floating_point_flags() noexcept {
#if defined(__SSE__)
  constexpr unsigned sticky_flags = 0x3f;
  const unsigned state = _mm_getcsr();
  if ((state & sticky_flags) != sticky_flags) _mm_setcsr(state | sticky_flags);
#endif
}

// ---- context --------------------------------------------------------------------------------------------------

void context::prepare(stack& on, entry start, void* argument) noexcept {
  const auto size_bytes = static_cast<std::size_t>(on.top - on.limit);
  start_ = start;
  argument_ = argument;
  place_ = fcontext::make_fcontext(on.top, size_bytes, &crossing::start);
#if ROVING_ADDRESS_SANITIZER
  lowest_ = on.limit;
  size_bytes_ = size_bytes;
#endif
#if ROVING_THREAD_SANITIZER
  tsan_fiber_ = on.tsan_fiber;
#endif
}

void context::adopt_thread() noexcept {
  place_ = nullptr;  // it runs
#if ROVING_THREAD_SANITIZER
  tsan_fiber_ = __tsan_get_current_fiber();
#endif
}

ROVING_UNINSTRUMENTED thread_anchor& context::switch_to(context& to, thread_anchor& anchor, after_switch after,
                                                        void* argument) noexcept {
  // Word by word: a copy of the struct becomes one wide load, which stalls on the two narrow stores of the last switch.
  void* const caught = exception_globals_of(anchor).caught;
  const unsigned uncaught = exception_globals_of(anchor).uncaught;
  const int error = *anchor.errno_location;
  void* fake_stack = nullptr;

  crossing::note leaving{this, &to, &anchor, after, argument};
  const fcontext::transfer_t came = crossing::jump(to, leaving, &fake_stack);
  const crossing::note& from = crossing::arrive(came, fake_stack);
  thread_anchor& here = *from.anchor;  // `anchor` is that of a thread which we may have left

  exception_globals_words& globals = exception_globals_of(here);
  globals.caught = caught;
  globals.uncaught = uncaught;
  if (from.after != nullptr) from.after(from.argument);  // I2: `from` is dead now
  *here.errno_location = error;                          // last: after() makes system calls
  return here;
}

ROVING_UNINSTRUMENTED void context::leave_for(context& to, thread_anchor& anchor, after_switch after,
                                              void* argument) noexcept {
  ROVING_ASSERT(exception_globals_of(anchor).caught == nullptr && exception_globals_of(anchor).uncaught == 0);
#if ROVING_THREAD_SANITIZER
  departure_ = {&to, &anchor, after, argument};
  std::longjmp(*static_cast<std::jmp_buf*>(first_frame_), 1);
#else
  crossing::depart(*this, to, anchor, after, argument);
#endif
}

// ---- A stack seen from outside --------------------------------------------------------------------------------

// jump_fcontext() leaves the registers that a call must keep at the place, in this order, and what it returns to.
ROVING_UNINSTRUMENTED bool context::copy_stack([[maybe_unused]] const stack& on,
                                               [[maybe_unused]] stack_copy& into) const noexcept {
#if defined(__x86_64__) && defined(__LP64__) && !defined(BOOST_CONTEXT_SHADOW_STACK)
  constexpr std::uintptr_t first_register = 0x10;
  constexpr std::uintptr_t all_bytes = 0x48;
  constexpr unsigned order[] = {stack_copy::r12, stack_copy::r12 + 1, stack_copy::r12 + 2, stack_copy::r12 + 3,
                                stack_copy::rbx, stack_copy::rbp,     stack_copy::rip};
  const auto place = reinterpret_cast<std::uintptr_t>(*const_cast<void* const volatile*>(&place_));
  const auto top = reinterpret_cast<std::uintptr_t>(on.top);
  if (place < reinterpret_cast<std::uintptr_t>(on.limit) || place >= top || top - place < all_bytes) return false;
  into.registers = {};
  into.was_interrupted = false;
  std::uintptr_t at = place + first_register;
  for (const unsigned which : order) {
    into.registers[which] = *reinterpret_cast<const volatile std::uintptr_t*>(at);
    at += sizeof(std::uintptr_t);
  }
  into.registers[stack_copy::rsp] = at;
  into.copy_memory(top);
  return true;
#else
  return false;
#endif
}

// ---- Sanitizers' view of a stack ------------------------------------------------------------------------------

void* create_sanitizer_fiber() noexcept {
#if ROVING_THREAD_SANITIZER
  return __tsan_create_fiber(0);
#else
  return nullptr;
#endif
}

void destroy_sanitizer_fiber([[maybe_unused]] void* fiber) noexcept {
#if ROVING_THREAD_SANITIZER
  if (fiber != nullptr) __tsan_destroy_fiber(fiber);
#endif
}

}  // namespace roving::detail
