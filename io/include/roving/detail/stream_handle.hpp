// A connected stream socket: reads and writes that wait, over the handle. What tcp_stream, and every stream besides,
// is made of.
//
// The call is tried first, and waits when there is nothing. After a short read the next one waits at once: the rest
// of the kernel's buffer is known to be empty, and an end or an error that came before is known to the descriptor's
// state. Writes have no such shortcut: a send in vain when the buffer is full is seldom, and cheap beside what made
// it full.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>

#include <roving/buffer.hpp>
#include <roving/detail/io_handle.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

class stream_handle : public io_handle {
 public:
  stream_handle() noexcept = default;
  using io_handle::io_handle;

  // Each returns what was done before an error came; `call` is the public call's name.
  std::size_t read_some(mutable_buffer into, std::error_code& error, const char* call);
  std::size_t read_some(std::span<const mutable_buffer> into, std::error_code& error, const char* call);
  std::size_t read_exactly(mutable_buffer into, std::error_code& error, const char* call);
  std::size_t write_some(const_buffer from, std::error_code& error, const char* call);
  std::size_t write_some(std::span<const const_buffer> from, std::error_code& error, const char* call);
  std::size_t write_all(const_buffer from, std::error_code& error, const char* call);
  std::size_t write_all(std::span<const const_buffer> from, std::error_code& error, const char* call);

  /// `how` as in shutdown(2).
  void shutdown(int how, std::error_code& error) noexcept;

 private:
  template <class Call>
  std::size_t read(std::size_t size_bytes, std::error_code& error, const char* name, Call receive);
  template <class Call>
  std::size_t write(std::error_code& error, const char* name, Call send);

  bool drained_ = false;  // the reader's
};

}  // namespace roving::detail

#pragma GCC visibility pop
