// The poller over epoll.
//
// A descriptor of ours is added once, for both directions and edge-triggered, and stays until it is closed: one
// system call in its life. The price is an edge that nobody waits for yet; the descriptor's state keeps it. EPOLLPRI
// is asked for since a read ends at urgent data: there a short read does not mean that nothing is left.
//
// A foreign descriptor, whose owner neither drains it nor tells us when it closes it, is added for one event and level-
// triggered.
//
// The bell is an eventfd, edge-triggered and never read: each write is an edge, and its counter is full after 2^64 of
// them.
//
// ThreadSanitizer lets a signal's handler run when the thread next comes to a call that it knows, of which epoll_wait
// is one. With a call by number a signal that comes right before the thread sleeps would not be handled until it wakes.
//
// Rejected: EPOLLEXCLUSIVE on a shared listener (the kernel wakes the last that went to sleep, so one shard gets all),
// and a timerfd for fine timeouts (two system calls more; epoll_pwait2 knows nanoseconds).
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <limits>
#include <vector>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/epoll_calls.hpp"
#include "io/kernel_poller.hpp"
#include "io/or_error.hpp"
#include "io/owned_fd.hpp"
#include "scheduler/sanitizers.hpp"

namespace roving::detail {
namespace {

constexpr std::uint64_t bell_token = ~std::uint64_t{0};  // a slot that no table reaches

const epoll_calls& system_epoll_calls() noexcept {
  static const epoll_calls calls;  // has no state
  return calls;
}

std::uint32_t events_for(interest what) noexcept {
  switch (what) {
    case interest::readable_once:
      return EPOLLIN | EPOLLRDHUP | EPOLLONESHOT;
    case interest::writable_once:
      return EPOLLOUT | EPOLLONESHOT;
    case interest::edges:
      break;
  }
  return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
}

readiness readiness_of(std::uint32_t events) noexcept {
  const bool ended = (events & (EPOLLHUP | EPOLLERR)) != 0;
  return {.readable = ended || (events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI)) != 0,
          .writable = ended || (events & EPOLLOUT) != 0,
          .hung_up = ended || (events & (EPOLLRDHUP | EPOLLPRI)) != 0};
}

class epoll_poller final : public kernel_poller {
 public:
  epoll_poller(const system_calls& calls, const poller_options& options)
      : kernel_poller{calls},
        epoll_{options.epoll != nullptr ? *options.epoll : system_epoll_calls()},
        queue_{epoll_.create(), "epoll_create1"},
        bell_{epoll_.make_event_descriptor(), "eventfd"},
        events_(std::max(options.batch, 1U)),
        whole_milliseconds_{options.whole_milliseconds || thread_sanitizer} {
    if (const std::error_code error = control(EPOLL_CTL_ADD, bell_.get(), EPOLLIN | EPOLLET, bell_token))
      throw std::system_error{error, "epoll_ctl"};
  }

  ~epoll_poller() override { descriptors().orphan(); }

  std::error_code add(int fd, const descriptor& state, interest what) noexcept override {
    return control(EPOLL_CTL_ADD, fd, events_for(what), state.token());
  }

  // Not left to close(): a duplicate, in a child perhaps, would keep the registration alive.
  void remove(int fd) noexcept override { static_cast<void>(control(EPOLL_CTL_DEL, fd, 0, 0)); }

 protected:
  void ask(std::optional<duration> timeout, ready_list& ready) noexcept override {
    const int found = whole_milliseconds_ ? ask_in_milliseconds(timeout) : ask_in_nanoseconds(timeout);
    for (int i = 0; i < found; ++i) {
      const epoll_event& event = events_[static_cast<std::size_t>(i)];
      if (event.data.u64 != bell_token) descriptors().deliver(event.data.u64, readiness_of(event.events), ready);
    }
  }

  void ring() noexcept override {
    const int error_before = errno;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(bell_.get(), &one, sizeof(one)));  // can't fail
    errno = error_before;
  }

 private:
  std::error_code control(int operation, int fd, std::uint32_t events, std::uint64_t token) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.u64 = token;
    const int result = epoll_.control(queue_.get(), operation, fd, event);
    return result == 0 ? std::error_code{} : std::error_code{-result, std::system_category()};
  }

  [[nodiscard]] int batch() const noexcept { return static_cast<int>(events_.size()); }

  int ask_in_nanoseconds(std::optional<duration> timeout) noexcept {
    timespec span{};
    if (timeout) {
      span.tv_sec = static_cast<decltype(span.tv_sec)>(timeout->count() / 1'000'000'000);
      span.tv_nsec = static_cast<decltype(span.tv_nsec)>(timeout->count() % 1'000'000'000);
    }
    const int found = epoll_.wait(queue_.get(), events_.data(), batch(), timeout ? &span : nullptr);
    if (found != -ENOSYS) return found;
    whole_milliseconds_ = true;
    return ask_in_milliseconds(timeout);
  }

  int ask_in_milliseconds(std::optional<duration> timeout) noexcept {
    int milliseconds = -1;
    if (timeout) {
      const auto rounded_up = std::chrono::ceil<std::chrono::milliseconds>(*timeout).count();
      constexpr int most = std::numeric_limits<int>::max();
      milliseconds = rounded_up < most ? static_cast<int>(rounded_up) : most;
    }
    return epoll_.wait_for_milliseconds(queue_.get(), events_.data(), batch(), milliseconds);
  }

  const epoll_calls& epoll_;
  owned_fd queue_;
  owned_fd bell_;
  std::vector<epoll_event> events_;  // this and the next: of whoever asks
  bool whole_milliseconds_;
};

}  // namespace

int epoll_calls::create() const noexcept { return or_error(::epoll_create1(EPOLL_CLOEXEC)); }

int epoll_calls::make_event_descriptor() const noexcept { return or_error(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int epoll_calls::control(int queue, int operation, int fd, epoll_event& event) const noexcept {
  return or_error(::epoll_ctl(queue, operation, fd, &event));
}

// By number, since C libraries that have no function for it are still about.
int epoll_calls::wait([[maybe_unused]] int queue, [[maybe_unused]] epoll_event* events, [[maybe_unused]] int batch,
                      [[maybe_unused]] const timespec* timeout) const noexcept {
#if defined(SYS_epoll_pwait2)
  return static_cast<int>(
      or_error(::syscall(SYS_epoll_pwait2, queue, events, batch, timeout, nullptr, std::size_t{0})));
#else
  return -ENOSYS;
#endif
}

int epoll_calls::wait_for_milliseconds(int queue, epoll_event* events, int batch, int milliseconds) const noexcept {
  return or_error(::epoll_wait(queue, events, batch, milliseconds));
}

std::unique_ptr<poller> make_poller(const system_calls& calls, const poller_options& options) {
  return std::make_unique<epoll_poller>(calls, options);
}

}  // namespace roving::detail
