// The poller over kqueue: macOS and the BSDs; on Linux over libkqueue, to try it.
//
// A descriptor of ours is added once, with a filter for each direction and EV_CLEAR, which is what epoll calls edge-
// triggered. kqueue knows descriptors by their numbers and not by the files behind them: a duplicate, in a child
// perhaps, keeps nothing alive. So remove() is needed only where the number stays open.
//
// A foreign descriptor, whose owner neither drains it nor tells us when it closes it, is added for one event:
// EV_ONESHOT without EV_CLEAR, which is level-triggered.
//
// kqueue replaces what was added before, where epoll refuses. So it is noted here which numbers are added: a foreign
// add must not take our own edges away, nor another foreign one's event. A foreign number may have been closed while it
// was waited for, and be another file's by now. Then the kernel has forgotten what was added, and says so when that is
// to be enabled, which it is already; libkqueue does not notice, and there the files are compared. (They do not do
// alone: to some kernels all sockets are the same file.) What is ours replaces a foreign add of that number without
// asking: its file is new.
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
#include <new>
#include <optional>
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
    if (fd < 0) return std::make_error_code(std::errc::bad_file_descriptor);
    added now{.what = what, .token = state.token()};
    if (what != interest::edges) {
      struct stat about {};
      if (::fstat(fd, &about) != 0) return {errno, std::system_category()};
      if (S_ISREG(about.st_mode)) return std::make_error_code(std::errc::operation_not_permitted);
      now.device = about.st_dev;
      now.file = about.st_ino;
    }
    if (!make_room_for(fd)) return std::make_error_code(std::errc::not_enough_memory);
    if (const std::optional<added>& before = added_[static_cast<std::size_t>(fd)]) {
      if (is_there(fd, *before, now)) return std::make_error_code(std::errc::file_exists);
      remove(fd);
    }

    std::error_code error;
    if (what == interest::edges) {
      // In this order: libkqueue 2.7 forgets to ask for ends when the other one comes last.
      const event both[] = {change(fd, EVFILT_WRITE, EV_ADD | EV_CLEAR, now.token),
                            change(fd, EVFILT_READ, EV_ADD | EV_CLEAR, now.token)};
      error = apply(both, 2);
    } else {
      const event once = change(fd, filter_of(what), EV_ADD | EV_ONESHOT, now.token);
      error = apply(&once, 1);
    }
    added_[static_cast<std::size_t>(fd)] = now;
    if (error) remove(fd);  // one of two filters may be there
    return error;
  }

  void remove(int fd) noexcept override {
    added_[static_cast<std::size_t>(fd)].reset();
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

  // What was added for a number, and to which file if that is foreign.
  struct added {
    interest what;
    std::uint64_t token;
    dev_t device = 0;
    ino_t file = 0;
  };

  [[nodiscard]] static int filter_of(interest once) noexcept {
    return once == interest::readable_once ? EVFILT_READ : EVFILT_WRITE;
  }

  [[nodiscard]] bool is_there(int fd, const added& before, const added& now) noexcept {
    if (before.what == interest::edges) return true;  // who closes what is ours removes it first
    if (now.what == interest::edges) return false;
    if (before.device != now.device || before.file != now.file) return false;
    const event same = change(fd, filter_of(before.what), EV_ENABLE, before.token);
    return !apply(&same, 1);
  }

  [[nodiscard]] bool make_room_for(int fd) noexcept {
    const auto place = static_cast<std::size_t>(fd);
    if (place < added_.size()) return true;
    try {
      added_.resize(std::max(place + 1, 2 * added_.size()));
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  }

  owned_fd queue_;
  std::vector<std::optional<added>> added_;  // by number; the table's lock guards it
  std::vector<event> events_;                // of whoever asks
};

}  // namespace

std::unique_ptr<poller> make_poller(const system_calls& calls, const poller_options& options) {
  return std::make_unique<kqueue_poller>(calls, options);
}

}  // namespace roving::detail
