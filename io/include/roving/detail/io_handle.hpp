// A descriptor that is ours: what every stream, listener and socket is built on. It owns the descriptor, knows with
// which poller it is registered, and waits for it.
//
// It is registered when a call first had to wait, with the poller of the shard on which that happened, and stays there
// until it is closed or rehomed; the first wait of its next life registers again.
#pragma once

#include <cstdint>
#include <system_error>

#include <roving/detail/io_direction.hpp>
#include <roving/detail/spin_lock.hpp>

namespace roving::detail {

class descriptor;
class system_calls;

#pragma GCC visibility push(default)

class io_handle {
 public:
  io_handle() noexcept = default;
  io_handle(int fd, const system_calls& calls) noexcept : calls_{&calls}, fd_{fd} {}
  io_handle(io_handle&& from) noexcept;
  io_handle& operator=(io_handle&& from) noexcept;
  ~io_handle() { close(); }

  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// Only while it is open.
  [[nodiscard]] const system_calls& calls() const noexcept { return *calls_; }

  /// Parks the caller until a call in that direction is worth a try. `drained`: the last one was a short read.
  ///
  /// Errors: operation_canceled when it was closed meanwhile; it may be gone then, so touch nothing. What the poller's
  /// add() has. Throws concurrent_use, no_shard, cancelled.
  [[nodiscard]] std::error_code wait(io_direction direction, bool drained, const char* call);

  /// Wakes who waits, with operation_canceled, and closes. Again: nothing.
  void close() noexcept;

  /// Leaves its poller; the next wait registers on its own shard. Nobody may wait.
  void leave_poller() noexcept;

 private:
  void take(io_handle& from) noexcept;

  const system_calls* calls_ = nullptr;
  descriptor* state_ = nullptr;  // this and the next: guarded by lock_ between a reader and a writer
  std::uint32_t generation_ = 0;
  int fd_ = -1;
  spin_lock lock_;
};

}  // namespace roving::detail

#pragma GCC visibility pop
