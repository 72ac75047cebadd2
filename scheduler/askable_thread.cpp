// See askable_thread.hpp.
#include "scheduler/askable_thread.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "scheduler/context.hpp"
#include "scheduler/sanitizers.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/simulator.hpp"
#include "scheduler/this_shard.hpp"

#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)
#  include <ucontext.h>
#endif

namespace roving::detail {

#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)

namespace {

constexpr bool answers_signals = !thread_sanitizer;

// The exception to "no global state": signal actions are the process's.
struct process_wide {
  std::mutex mutex;
  std::size_t handlers = 0;
  std::atomic<int> signal{0};  // 0: none
};
constinit process_wide state;

void on_question(int, siginfo_t*, void* registers) noexcept {
  const int error = errno;
  if (shard* const here = this_shard()) here->asked().answer(registers);
  errno = error;
}

bool is_ours(const struct sigaction& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &on_question;
}

bool has_our_handler(int signal) noexcept {
  struct sigaction current {};
  return signal != 0 && ::sigaction(signal, nullptr, &current) == 0 && is_ours(current);
}

void install() noexcept {
  for (int signal = SIGRTMAX - 2; signal >= SIGRTMIN; --signal) {  // the last ones are valgrind's
    struct sigaction current {};
    if (::sigaction(signal, nullptr, &current) != 0) continue;
    if ((current.sa_flags & SA_SIGINFO) != 0 || current.sa_handler != SIG_DFL) continue;
    struct sigaction ours {};
    ours.sa_sigaction = &on_question;
    ::sigfillset(&ours.sa_mask);
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    if (::sigaction(signal, &ours, nullptr) != 0) continue;
    state.signal.store(signal, std::memory_order_relaxed);
    return;
  }
}

// To ignore a signal discards those that are on their way, which would end the process by the default action.
void uninstall() noexcept {
  const int signal = state.signal.exchange(0, std::memory_order_relaxed);
  if (!has_our_handler(signal)) return;
  struct sigaction action {};
  ::sigemptyset(&action.sa_mask);
  action.sa_handler = SIG_IGN;
  ::sigaction(signal, &action, nullptr);
  action.sa_handler = SIG_DFL;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

answering_handler::answering_handler() noexcept {
  if (!answers_signals || current_simulator() != nullptr) return;
  const std::scoped_lock hold{state.mutex};
  if (++state.handlers == 1) install();
}

answering_handler::~answering_handler() {
  if (!answers_signals || current_simulator() != nullptr) return;
  const std::scoped_lock hold{state.mutex};
  if (--state.handlers == 0) uninstall();
}

struct askable_thread::place {
  pthread_t thread;
  sigset_t mask;
};

// A server may have blocked all signals before it began.
void askable_thread::enter() noexcept {
  is_there_.store(true, std::memory_order_release);
  if (!answers_signals || current_simulator() != nullptr) return;
  const int signal = state.signal.load(std::memory_order_relaxed);
  if (signal == 0) return;
  try {
    auto made = std::make_shared<place>();
    made->thread = ::pthread_self();
    sigset_t question;
    ::sigemptyset(&question);
    ::sigaddset(&question, signal);
    if (::pthread_sigmask(SIG_UNBLOCK, &question, &made->mask) != 0) return;
    const std::scoped_lock hold{mutex_};
    thread_ = std::move(made);
  } catch (const std::bad_alloc&) {  // nobody answers then
  }
}

void askable_thread::leave() noexcept {
  is_there_.store(false, std::memory_order_release);
  std::shared_ptr<place> left;
  {
    const std::scoped_lock hold{mutex_};
    left = std::move(thread_);
  }
  if (left) ::pthread_sigmask(SIG_SETMASK, &left->mask, nullptr);
}

bool askable_thread::ask(thread_answer& answer) noexcept {
  answer.task = {};
  answer.has_stack = false;
  const std::scoped_lock hold{mutex_};
  const int signal = state.signal.load(std::memory_order_relaxed);
  if (!thread_ || !has_our_handler(signal)) return false;
  into_ = &answer;
  now_.store(phase::asked, std::memory_order_release);
  if (::pthread_kill(thread_->thread, signal) == 0) {
    constexpr int looks_at_most = 1000;
    for (int i = 0; i < looks_at_most; ++i) {
      if (now_.load(std::memory_order_acquire) == phase::answered) break;  // [answer]
      std::this_thread::sleep_for(std::chrono::microseconds{100});
    }
  }
  auto expected = phase::asked;
  if (now_.compare_exchange_strong(expected, phase::free, std::memory_order_acq_rel)) return false;
  while (now_.load(std::memory_order_acquire) != phase::answered) std::this_thread::yield();  // [answer]
  now_.store(phase::free, std::memory_order_relaxed);
  return true;
}

void askable_thread::answer(void* registers) noexcept {
  auto expected = phase::asked;
  if (!now_.compare_exchange_strong(expected, phase::answers, std::memory_order_acq_rel)) return;  // I2
  // In the order of stack_copy::registers.
  constexpr std::array<int, 17> order{REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8,
                                      REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
  const greg_t* const from = static_cast<const ucontext_t*>(registers)->uc_mcontext.gregs;
  stack_copy& stack = into_->stack;
  for (std::size_t i = 0; i < order.size(); ++i) stack.registers[i] = static_cast<std::uintptr_t>(from[order[i]]);
  stack.was_interrupted = true;
  // Interrupted in another handler, on the stack for those: that has no end which is known here.
  const stack_t& for_handlers = static_cast<const ucontext_t*>(registers)->uc_stack;
  const std::uintptr_t depth = stack.registers[stack_copy::rsp] - reinterpret_cast<std::uintptr_t>(for_handlers.ss_sp);
  if (depth < for_handlers.ss_size) stack.registers[stack_copy::rsp] = 0;
  this_shard()->say_what_runs(*into_);
  now_.store(phase::answered, std::memory_order_release);  // [answer]
}

#else

answering_handler::answering_handler() noexcept = default;
answering_handler::~answering_handler() = default;
struct askable_thread::place {};
void askable_thread::enter() noexcept { is_there_.store(true, std::memory_order_release); }
void askable_thread::leave() noexcept { is_there_.store(false, std::memory_order_release); }
bool askable_thread::ask(thread_answer&) noexcept { return false; }
void askable_thread::answer(void*) noexcept {}

#endif

}  // namespace roving::detail
