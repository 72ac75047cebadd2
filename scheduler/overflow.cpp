// Reports stack overflows. The idea is in overflow.hpp.
//
// I1  While a reporter lives the handler is ours, or somebody has put theirs on top of it and calls ours from there.
// I2  previous is what was there before ours and is never ours, so that the chain ends.
// I3  previous is written before the handler is made known, and not while it is.
//
// [ask] the constructor stores ask, release -> the handler loads it, acquire: what the function needs is there.

#include "scheduler/overflow.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <system_error>

#include <sys/mman.h>
#include <unistd.h>

#if defined(__linux__)
#  include <sys/auxv.h>
#endif

#include <roving/detail/assert.hpp>

#include "scheduler/context.hpp"

namespace roving::detail {
namespace {

constexpr bool reports = !address_sanitizer && !thread_sanitizer;

constexpr std::array<int, 2> signals{SIGSEGV, SIGBUS};

// The exception to "no global state": signal actions are the process's, and a handler is given no argument of its own.
struct process_wide {
  std::mutex mutex;  // for installing and uninstalling
  std::size_t reporters = 0;
  bool installed = false;
  std::array<struct sigaction, signals.size()> previous{};
  std::atomic<overflow_reporter::describe> ask{nullptr};  // null: pass everything on
};
constinit process_wide state;

// A line put together without the heap and without stdio, both of which are not async-signal-safe.
class line {
 public:
  line& operator<<(const char* text) noexcept {
    while (*text != '\0' && length_ < text_.size()) text_[length_++] = *text++;
    return *this;
  }
  line& operator<<(std::size_t number) noexcept {
    std::array<char, 24> digits{};
    std::size_t first = digits.size() - 1;
    do {
      digits[--first] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    return *this << &digits[first];
  }
  void write_to_stderr() const noexcept {
    std::size_t written = 0;
    while (written < length_) {
      const ssize_t count = ::write(STDERR_FILENO, text_.data() + written, length_ - written);
      if (count < 0 && errno != EINTR) return;
      if (count > 0) written += static_cast<std::size_t>(count);
    }
  }

 private:
  std::array<char, 1024> text_{};
  std::size_t length_ = 0;
};

void report(const overflow_description& found) noexcept {
  line out;
  out << "roving: stack overflow in task \"" << (found.task_name[0] == '\0' ? "unnamed" : found.task_name) << "\"";
  if (found.file[0] != '\0') out << " (spawned at " << found.file << ":" << std::size_t{found.line} << ")";
  out << (found.in_generator ? ", in a generator's stack of " : ", stack of ") << found.stack_size_bytes
      << (found.in_generator ? " bytes; use generator_attributes{.stack_size_bytes = ...}\n"
                             : " bytes; use attributes{.stack_size_bytes = ...}\n");
  out.write_to_stderr();
}

void restore_default(int signal) noexcept {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

// From the processor, and not from kill(): it happens again when we return.
bool comes_from_a_fault(const siginfo_t& information) noexcept {
#if defined(BUS_MCEERR_AO)
  if (information.si_signo == SIGBUS && information.si_code == BUS_MCEERR_AO)
    return false;  // some broken memory, somewhere
#endif
  return information.si_code > 0;
}

// What would have happened without us.
void pass_on(int signal, siginfo_t* information, void* registers) noexcept {
  const struct sigaction& previous = state.previous[signal == signals[0] ? 0 : 1];
  if ((previous.sa_flags & SA_SIGINFO) == 0) {
    if (previous.sa_handler == SIG_IGN && !comes_from_a_fault(*information)) return;
    if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
      restore_default(signal);
      if (!comes_from_a_fault(*information)) ::raise(signal);  // blocked until we return
      return;
    }
  }
  if ((static_cast<unsigned>(previous.sa_flags) & static_cast<unsigned>(SA_RESETHAND)) != 0) restore_default(signal);
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, information, registers);
  } else {
    previous.sa_handler(signal);
  }
}

void on_fault(int signal, siginfo_t* information, void* registers) noexcept {
  const int error = errno;
  overflow_description found;
  const overflow_reporter::describe ask = state.ask.load(std::memory_order_acquire);  // [ask]
  if (ask != nullptr && comes_from_a_fault(*information) && ask(information->si_addr, found)) {
    report(found);
    restore_default(signal);  // and return: the same instruction faults again
  } else {
    pass_on(signal, information, registers);
  }
  errno = error;
}

bool is_ours(const struct sigaction& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &on_fault;
}

// All or nothing.
void install() {
  for (std::size_t i = 0; i < signals.size(); ++i) {
    struct sigaction current {};
    if (::sigaction(signals[i], nullptr, &current) != 0)
      throw std::system_error(current_errno(), std::system_category(), "roving: sigaction");
    if (!is_ours(current)) state.previous[i] = current;  // I2
  }
  for (std::size_t i = 0; i < signals.size(); ++i) {
    struct sigaction ours {};
    ours.sa_sigaction = &on_fault;
    ours.sa_mask = state.previous[i].sa_mask;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | (state.previous[i].sa_flags & (SA_NODEFER | SA_RESTART));
    if (::sigaction(signals[i], &ours, nullptr) != 0) {
      const int error = current_errno();
      while (i-- > 0) ::sigaction(signals[i], &state.previous[i], nullptr);
      throw std::system_error(error, std::system_category(), "roving: sigaction");
    }
  }
  state.installed = true;
}

// Where somebody has put a handler on top of ours, ours stays below it: it passes everything on, and the
// next reporter finds it in place.
void uninstall() noexcept {
  for (const int signal : signals) {
    struct sigaction current {};
    ::sigaction(signal, nullptr, &current);
    if (!is_ours(current)) return;
  }
  for (std::size_t i = 0; i < signals.size(); ++i) ::sigaction(signals[i], &state.previous[i], nullptr);
  state.installed = false;
}

std::size_t signal_stack_bytes() noexcept {
  std::size_t smallest = 0;
#if defined(__linux__) && defined(AT_MINSIGSTKSZ)
  smallest = ::getauxval(AT_MINSIGSTKSZ);  // what the kernel puts there by itself; 12 KiB with AMX
#endif
  return std::max<std::size_t>(std::size_t{64} * 1024, smallest + std::size_t{16} * 1024);
}

}  // namespace

void copy_for_report(char* into, std::size_t size_bytes, const char* text) noexcept {
  if (size_bytes == 0) return;
  std::size_t length = 0;
  while (length + 1 < size_bytes && text != nullptr && text[length] != '\0') {
    into[length] = text[length];
    ++length;
  }
  into[length] = '\0';
}

overflow_reporter::overflow_reporter(describe ask) {
  if (!reports) return;
  ROVING_ASSERT(ask != nullptr);
  const std::scoped_lock hold{state.mutex};
  ROVING_ASSERT(state.reporters == 0 || state.ask.load(std::memory_order_relaxed) == ask);
  if (!state.installed) install();
  ++state.reporters;
  state.ask.store(ask, std::memory_order_release);  // [ask]
}

overflow_reporter::~overflow_reporter() {
  if (!reports) return;
  const std::scoped_lock hold{state.mutex};
  if (--state.reporters != 0) return;
  state.ask.store(nullptr, std::memory_order_release);  // [ask]
  uninstall();
}

alternate_signal_stack::alternate_signal_stack() noexcept {
  if (!reports) return;
  // One page below it that nobody may touch: the handlers of others run here too.
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t size_bytes = (signal_stack_bytes() + page_bytes - 1) / page_bytes * page_bytes;
  mapping_bytes_ = size_bytes + page_bytes;
  void* const at = ::mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return;
  ::mprotect(at, page_bytes, PROT_NONE);  // if it can't be had, we go without

  stack_t ours{};
  ours.ss_sp = static_cast<std::byte*>(at) + page_bytes;
  ours.ss_size = size_bytes;
  stack_t previous{};
  if (::sigaltstack(&ours, &previous) != 0) {
    ::munmap(at, mapping_bytes_);
    return;
  }
  mapping_ = at;
  previous_ = previous.ss_sp;
  previous_bytes_ = previous.ss_size;
  previous_flags_ = previous.ss_flags;
}

alternate_signal_stack::~alternate_signal_stack() {
  if (mapping_ == nullptr) return;
  stack_t previous{};
  previous.ss_sp = previous_;
  previous.ss_size = previous_bytes_;
  previous.ss_flags = previous_flags_;
  const int result = ::sigaltstack(&previous, nullptr);
  ROVING_ASSERT(result == 0);  // it is when the calling thread handles a signal on it
  ::munmap(mapping_, mapping_bytes_);
}

}  // namespace roving::detail
