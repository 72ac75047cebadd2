// See interrupt.hpp.
//
// I1  While `watching` is set, the guard that set it lives, and so does its message. It is taken away before they go,
// and
//     nobody is in the handler then.
//
// [in]  the handler counts itself, then reads `watching`; the guard clears `watching`, then waits for the count; all
//       seq_cst: either the handler sees null, or the guard sees the handler.
#include "scheduler/interrupt.hpp"

#include <atomic>
#include <csignal>

#include <roving/detail/relax.hpp>

#include "scheduler/shard.hpp"
#include "scheduler/thread.hpp"

namespace roving::detail {

struct interrupt_guard::message final : counted, posted_callback {
  message(shard& on, task_base& of)
      : counted{[](counted& self) noexcept { delete static_cast<message*>(&self); }},
        posted_callback{&on, &cancel_main, &forget},
        main{future_reference<task_base>::share(of)} {}

  static void cancel_main(ready_node& node) noexcept {
    auto& self = static_cast<message&>(static_cast<posted_callback&>(node));
    self.main->request_cancel(nullptr);  // without a text it needs no memory
    self.release();
  }
  static void forget(ready_node& node) noexcept {
    static_cast<message&>(static_cast<posted_callback&>(node)).release();
  }

  const future_reference<task_base> main;
  std::atomic<bool> sent{false};
};

namespace {

// The exception to "no global state": signal actions are the process's, and a handler is given no argument of its own.
struct process_wide {
  std::atomic<posted_callback*> watching{nullptr};
  std::atomic<std::atomic<bool>*> sent{nullptr};
  std::atomic<unsigned> in_handler{0};
};
constinit process_wide state;

void on_interrupt(int) noexcept {
  state.in_handler.fetch_add(1, std::memory_order_seq_cst);  // [in]
  if (posted_callback* const message = state.watching.load(std::memory_order_seq_cst)) {
    std::atomic<bool>& sent = *state.sent.load(std::memory_order_relaxed);
    if (!sent.exchange(true, std::memory_order_acq_rel)) message->home->receive(*message);
  }
  state.in_handler.fetch_sub(1, std::memory_order_seq_cst);
}

struct sigaction action_now() noexcept {
  struct sigaction now {};
  ::sigaction(SIGINT, nullptr, &now);
  return now;
}

// Whatever the flags say: those of a handler that has reset itself stay.
bool is_default(const struct sigaction& action) noexcept { return action.sa_handler == SIG_DFL; }

}  // namespace

interrupt_guard::interrupt_guard() noexcept = default;

void interrupt_guard::watch(shard& on, task_base& main) {
  if (!is_first_thread() || state.watching.load(std::memory_order_relaxed) != nullptr || !is_default(action_now()))
    return;
  message_ = counted_reference<message>{new message{on, main}};
  message_->add_reference();  // of the queue that it may be sent to
  state.sent.store(&message_->sent, std::memory_order_relaxed);
  state.watching.store(message_.get(), std::memory_order_seq_cst);
  struct sigaction ours {};
  ours.sa_handler = &on_interrupt;
  sigemptyset(&ours.sa_mask);
  ours.sa_flags = static_cast<int>(static_cast<unsigned>(SA_RESETHAND) | static_cast<unsigned>(SA_RESTART));
  ::sigaction(SIGINT, &ours, nullptr);  // can't fail with these arguments
}

bool interrupt_guard::was_interrupted() const noexcept {
  return message_ && message_->sent.load(std::memory_order_acquire);
}

interrupt_guard::~interrupt_guard() {
  if (!message_) return;
  const struct sigaction now = action_now();
  if ((now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == &on_interrupt) {
    struct sigaction before {};  // what watch() found
    before.sa_handler = SIG_DFL;
    sigemptyset(&before.sa_mask);
    ::sigaction(SIGINT, &before, nullptr);
  }
  state.watching.store(nullptr, std::memory_order_seq_cst);  // [in]
  for (unsigned iteration = 0; state.in_handler.load(std::memory_order_seq_cst) != 0; ++iteration) relax(iteration);
  if (!message_->sent.load(std::memory_order_acquire)) message_->release();  // the queue's, which it never was in
}

}  // namespace roving::detail
