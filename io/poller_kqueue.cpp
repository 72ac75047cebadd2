// The poller over kqueue: macOS and the BSDs; on Linux over libkqueue, to try it.
//
// A descriptor of ours is added once, with a filter for each direction and EV_CLEAR, which is what epoll calls edge-
// triggered. kqueue knows descriptors by their numbers and not by the files behind them: a duplicate, in a child
// perhaps, keeps nothing alive. So remove() is needed only where the number stays open.
//
// A foreign descriptor, whose owner neither drains it nor tells us when it closes it, is added for one event:
// EV_ONESHOT without EV_CLEAR, which is level-triggered.
//
// kqueue replaces what was added before, where epoll refuses, and can't be asked without being changed. So it is noted
// here which numbers are added: a foreign add must not take our own edges away. What is ours replaces a foreign add of
// that number, which must be of an earlier file: its owner closed it while it was waited for.
//
// A regular file is refused, as by epoll: the filter for reading says whether the end is reached, which is not what is
// asked.
//
// The bell is a user event: no descriptor, cleared as it is taken.
//
// Timeouts are in nanoseconds.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <ctime>
#include <mutex>
#include <vector>

#include <fcntl.h>
#include <sys/event.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>

#include "io/kernel_poller.hpp"
#include "io/or_error.hpp"
#include "io/owned_fd.hpp"

namespace roving::detail {
namespace {

using event = struct kevent;

static_assert(sizeof(event::udata) == sizeof(std::uint64_t), "slot and generation travel in it");

constexpr std::uint64_t bell_token = ~std::uint64_t{0};  // a slot that no table reaches

// Some systems have a pointer there, some a number.
event change(int fd, int filter, unsigned flags, std::uint64_t token) noexcept {
  event made{};
  EV_SET(&made, static_cast<decltype(made.ident)>(fd), static_cast<decltype(made.filter)>(filter),
         static_cast<decltype(made.flags)>(flags), 0, 0, std::bit_cast<decltype(made.udata)>(token));
  return made;
}

std::uint64_t token_of(const event& from) noexcept { return std::bit_cast<std::uint64_t>(from.udata); }

// A filter tells of its own direction; an end concerns both, and each filter tells of it. Urgent data ends a read as a
// short one, so it counts as an end where a system tells of it.
readiness readiness_of(const event& from) noexcept {
#if defined(EV_OOBAND)
  constexpr unsigned end_of_a_read = EV_EOF | EV_ERROR | EV_OOBAND;
#else
  constexpr unsigned end_of_a_read = EV_EOF | EV_ERROR;
#endif
  const bool ended = (from.flags & end_of_a_read) != 0;
  if (from.filter == EVFILT_READ) return {.readable = true, .hung_up = ended};
  return {.readable = ended, .writable = true, .hung_up = ended};
}

bool is_regular_file(int fd) noexcept {
  struct stat about {};
  return ::fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

class kqueue_poller final : public kernel_poller {
 public:
  kqueue_poller(const system_calls& calls, const poller_options& options)
      : kernel_poller{calls}, queue_{or_error(::kqueue()), "kqueue"}, events_(std::max(options.batch, 1U)) {
    ::fcntl(queue_.get(), F_SETFD, FD_CLOEXEC);
    const event bell = change(0, EVFILT_USER, EV_ADD | EV_CLEAR, bell_token);
    if (const std::error_code error = apply(&bell, 1)) throw std::system_error{error, "kevent"};
  }

  ~kqueue_poller() override { descriptors().orphan(); }

  std::error_code add(int fd, const descriptor& state, interest what) noexcept override {
    if (what != interest::edges && is_regular_file(fd)) return std::make_error_code(std::errc::operation_not_permitted);
    if (const std::error_code error = note(fd, what == interest::edges ? added::edges : added::once)) return error;
    const std::uint64_t token = state.token();
    std::error_code error;
    if (what == interest::edges) {
      // In this order: libkqueue 2.7 forgets to ask for ends when the other one comes last.
      const event both[] = {change(fd, EVFILT_WRITE, EV_ADD | EV_CLEAR, token),
                            change(fd, EVFILT_READ, EV_ADD | EV_CLEAR, token)};
      error = apply(both, 2);
    } else {
      const event once =
          change(fd, what == interest::readable_once ? EVFILT_READ : EVFILT_WRITE, EV_ADD | EV_ONESHOT, token);
      error = apply(&once, 1);
    }
    if (error) remove(fd);  // one of two filters may be there
    return error;
  }

  void remove(int fd) noexcept override {
    {
      const std::lock_guard guard{noting_};
      if (static_cast<std::size_t>(fd) < added_.size()) added_[static_cast<std::size_t>(fd)] = added::none;
    }
    for (const int filter : {EVFILT_READ, EVFILT_WRITE}) {
      const event gone = change(fd, filter, EV_DELETE, 0);
      static_cast<void>(apply(&gone, 1));  // a one-shot is gone once it was told
    }
  }

 protected:
  void ask(std::optional<duration> timeout, ready_list& ready) noexcept override {
    timespec span{};
    if (timeout) {
      span.tv_sec = static_cast<decltype(span.tv_sec)>(timeout->count() / 1'000'000'000);
      span.tv_nsec = static_cast<decltype(span.tv_nsec)>(timeout->count() % 1'000'000'000);
    }
    const int found =
        ::kevent(queue_.get(), nullptr, 0, events_.data(), static_cast<int>(events_.size()), timeout ? &span : nullptr);
    for (int i = 0; i < found; ++i) {
      const event& each = events_[static_cast<std::size_t>(i)];
      if (each.filter != EVFILT_USER) descriptors().deliver(token_of(each), readiness_of(each), ready);
    }
  }

  void ring() noexcept override {
    const int error_before = errno;
    event bell = change(0, EVFILT_USER, 0, bell_token);
    bell.fflags = NOTE_TRIGGER;
    static_cast<void>(apply(&bell, 1));  // can't fail
    errno = error_before;
  }

 private:
  [[nodiscard]] std::error_code apply(const event* changes, int count) noexcept {
    if (::kevent(queue_.get(), changes, count, nullptr, 0, nullptr) == 0) return {};
    return {errno, std::system_category()};
  }

  enum class added : std::uint8_t { none, once, edges };

  [[nodiscard]] std::error_code note(int fd, added as) noexcept {
    if (fd < 0) return std::make_error_code(std::errc::bad_file_descriptor);
    const auto place = static_cast<std::size_t>(fd);
    const std::lock_guard guard{noting_};
    if (place >= added_.size()) {
      try {
        added_.resize(std::max(place + 1, 2 * added_.size()));
      } catch (const std::bad_alloc&) {
        return std::make_error_code(std::errc::not_enough_memory);
      }
    }
    if (added_[place] == added::edges || added_[place] == as) return std::make_error_code(std::errc::file_exists);
    added_[place] = as;
    return {};
  }

  owned_fd queue_;
  spin_lock noting_;
  std::vector<added> added_;   // by number; guarded by noting_
  std::vector<event> events_;  // of whoever asks
};

}  // namespace

std::unique_ptr<poller> make_poller(const system_calls& calls, const poller_options& options) {
  return std::make_unique<kqueue_poller>(calls, options);
}

}  // namespace roving::detail
