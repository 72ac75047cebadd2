// The kernel queue of a shard as io/ sees it: a parker that also knows descriptors. What runtime/ plugs into a shard
// as its parker is always one of these, be it over epoll, over kqueue, or over a simulated network.
//
// The contract of every back-end, which tests/io/poller_test.cpp holds them to:
//
// - add(fd, state, edges): from now on each change to readable or writable is delivered once, with the readiness at
//   the time of add() as the first, if there is any. An end comes as hung up: a half-close readable besides, a
//   hang-up or an error readable and writable.
// - add(fd, state, readable_once or writable_once): one event, when that is so or as soon as it is; then nothing.
// - After remove(fd) nothing comes for it, although another descriptor, perhaps of another process, stands for the same
//   file. What is in a batch already is told apart by its generation.
// - wait(), poll() and service() hand each event to descriptor_table::deliver(), in the order in which the kernel
//   gives them.
#pragma once

#include <memory>
#include <system_error>

#include "io/descriptor.hpp"
#include "io/system_calls.hpp"
#include "scheduler/parker.hpp"

namespace roving::detail {

class poller : public parker {
 public:
  explicit poller(const system_calls& calls) : calls_{calls}, table_{std::make_shared<descriptor_table>(*this)} {}
  /// The class at the end of the line calls `descriptors().orphan()` first in its own: until then others call remove().
  ~poller() override { table_->orphan(); }

  /// Errors: ENOSPC, ENOMEM (limits of the kernel), EPERM (a regular file: always ready), EEXIST (this poller has
  /// that fd already; a duplicate can be added), EBADF. Any thread, under the lock of descriptors().
  [[nodiscard]] virtual std::error_code add(int fd, const descriptor& state, interest what) noexcept = 0;

  /// Forgets what was added. Any thread, under the lock of descriptors().
  virtual void remove(int fd) noexcept = 0;

  [[nodiscard]] const system_calls& calls() const noexcept { return calls_; }
  [[nodiscard]] descriptor_table& descriptors() noexcept { return *table_; }

  /// A slot for `fd`, added. Empty when there was an error. Throws std::bad_alloc. Any thread.
  [[nodiscard]] registration enroll(int fd, interest what, std::error_code& error);

 private:
  const system_calls& calls_;
  std::shared_ptr<descriptor_table> table_;
};

/// What a descriptor's owner does to be rid of its registration, in this order: ends the generation, has the poller
/// forget the descriptor, closes it if `calls` is not null, gives the slot back, wakes who waited.
void withdraw(registration from, int fd, const system_calls* calls) noexcept;

/// The poller of the shard that the caller is on. Throws no_shard{call}.
[[nodiscard]] poller& current_poller(const char* call);

class epoll_calls;

struct poller_options {
  unsigned batch = 256;                // events that are taken from the kernel at a time, at most
  bool whole_milliseconds = false;     // as on kernels that know no finer timeouts
  const epoll_calls* epoll = nullptr;  // for tests; null: the system's
};

/// The kernel queue that was chosen when this was built. Errors: std::system_error (EMFILE and the like).
[[nodiscard]] std::unique_ptr<poller> make_poller(const system_calls& calls, const poller_options& options = {});

}  // namespace roving::detail
