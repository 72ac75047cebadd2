// One wait for a descriptor that belongs to somebody else.
#include <roving/wait_readable.hpp>

#include "io/errors.hpp"
#include "io/poller.hpp"

namespace roving {
namespace {

using detail::interest;
using detail::io_direction;

// Watches the descriptor for as long as it lives.
class watch {
 public:
  watch(int fd, interest what, const char* call, std::error_code& error) : fd_{fd} {
    detail::poller& poller = detail::current_poller(call);
    calls_ = &poller.calls();
    added_ = poller.enroll(fd, what, error);
    // Somebody here waits for it already, perhaps for the other direction: a queue has each number only once.
    if (error != std::errc::file_exists) return;
    error.clear();
    const int second = calls_->duplicate(fd);
    if (second < 0) {
      error = detail::error_of(second);
      return;
    }
    fd_ = second;
    is_duplicate_ = true;
    added_ = poller.enroll(fd_, what, error);
  }
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;
  ~watch() {
    if (added_.state != nullptr)
      detail::withdraw(added_, fd_, is_duplicate_ ? calls_ : nullptr);
    else if (is_duplicate_)
      calls_->close(fd_);
  }

  void wait(io_direction direction, const char* call) const {
    static_cast<void>(added_.state->wait(direction, added_.generation, false, call));
  }

 private:
  const detail::system_calls* calls_ = nullptr;
  detail::registration added_;
  int fd_;
  bool is_duplicate_ = false;
};

void wait_for(int fd, interest what, io_direction direction, const char* call, std::error_code& error) {
  error.clear();
  const watch watched{fd, what, call, error};
  if (!error) return watched.wait(direction, call);
  if (error == std::errc::operation_not_permitted) error.clear();  // a regular file: always ready
}

}  // namespace

void wait_readable(int fd, std::error_code& error) {
  wait_for(fd, interest::readable_once, io_direction::read, "wait_readable", error);
}

void wait_readable(int fd) {
  std::error_code error;
  wait_readable(fd, error);
  detail::throw_on(error, "wait_readable");
}

void wait_writable(int fd, std::error_code& error) {
  wait_for(fd, interest::writable_once, io_direction::write, "wait_writable", error);
}

void wait_writable(int fd) {
  std::error_code error;
  wait_writable(fd, error);
  detail::throw_on(error, "wait_writable");
}

}  // namespace roving
