// One wait for a descriptor that belongs to somebody else.
#include <roving/wait_readable.hpp>

#include <poll.h>

#include "io/errors.hpp"
#include "io/poller.hpp"

namespace roving {
namespace detail {

// Watches the descriptor for as long as it lives.
class descriptor_watch {
 public:
  descriptor_watch(int fd, io_direction direction, const char* call, std::error_code& error)
      : direction_{direction}, fd_{fd} {
    const interest what = direction == io_direction::read ? interest::readable_once : interest::writable_once;
    poller& poller = current_poller(call);
    calls_ = &poller.calls();
    added_ = poller.enroll(fd, what, error);
    // Somebody here waits for it already, perhaps for the other direction: a queue has each number only once.
    if (error != std::errc::file_exists) return;
    error.clear();
    const int second = calls_->duplicate(fd);
    if (second < 0) {
      error = error_of(second);
      return;
    }
    fd_ = second;
    is_duplicate_ = true;
    added_ = poller.enroll(fd_, what, error);
  }
  descriptor_watch(const descriptor_watch&) = delete;
  descriptor_watch& operator=(const descriptor_watch&) = delete;
  ~descriptor_watch() {
    if (added_.state != nullptr)
      withdraw(added_, fd_, is_duplicate_ ? calls_ : nullptr);
    else if (is_duplicate_)
      calls_->close(fd_);
  }

  void wait(const char* call) const {
    static_cast<void>(added_.state->wait(direction_, added_.generation, false, call, fd_));
  }
  [[nodiscard]] bool enlist(waiter& self) const noexcept {
    return added_.state->enlist(direction_, added_.generation, self);
  }
  [[nodiscard]] bool delist(waiter& self) const noexcept {
    return added_.state->delist(direction_, added_.generation, self);
  }

 private:
  const io_direction direction_;
  const system_calls* calls_ = nullptr;
  registration added_;
  int fd_;
  bool is_duplicate_ = false;
};

readiness_operation::readiness_operation(int fd, io_direction direction, const char* call) noexcept
    : fd_{fd}, direction_{direction}, call_{call} {}

readiness_operation::~readiness_operation() = default;

bool readiness_operation::try_now() {
  const int found = current_poller(call_).calls().poll_now(fd_, direction_ == io_direction::read ? POLLIN : POLLOUT);
  if (found < 0) throw_on(error_of(found), call_);
  if ((found & POLLNVAL) != 0) throw_on(std::make_error_code(std::errc::bad_file_descriptor), call_);
  return found != 0;
}

bool readiness_operation::enlist(waiter& self) noexcept {
  try {
    std::error_code error;
    watch_ = std::make_unique<descriptor_watch>(fd_, direction_, call_, error);
    throw_on(error, call_);
    if (watch_->enlist(self)) return true;
  } catch (...) {
    error_ = std::current_exception();
  }
  watch_.reset();
  return false;
}

bool readiness_operation::delist(waiter& self, bool) noexcept {
  const bool was_granted = watch_->delist(self);
  watch_.reset();
  return was_granted;
}

bool readiness_operation::finish() {
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  return true;
}

}  // namespace detail

namespace {

using detail::io_direction;

void wait_for(int fd, io_direction direction, const char* call, std::error_code& error) {
  error.clear();
  const detail::descriptor_watch watched{fd, direction, call, error};
  if (!error) return watched.wait(call);
  if (error == std::errc::operation_not_permitted) error.clear();  // a regular file: always ready
}

}  // namespace

void wait_readable(int fd, std::error_code& error) { wait_for(fd, io_direction::read, "wait_readable", error); }

void wait_readable(int fd) {
  std::error_code error;
  wait_readable(fd, error);
  detail::throw_on(error, "wait_readable");
}

void wait_writable(int fd, std::error_code& error) { wait_for(fd, io_direction::write, "wait_writable", error); }

void wait_writable(int fd) {
  std::error_code error;
  wait_writable(fd, error);
  detail::throw_on(error, "wait_writable");
}

}  // namespace roving
