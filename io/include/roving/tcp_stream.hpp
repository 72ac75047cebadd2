// A connected TCP socket, written and read as if it blocked: the task waits, its shard does not.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <roving/buffer.hpp>
#include <roving/detail/stream_handle.hpp>
#include <roving/endpoint.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// Which way of a connection.
enum class direction : std::uint8_t { read, write, both };

/// A connected TCP socket.
///
/// Suspends: connect, reads and writes, and only when they have to wait. They park the calling task, never its shard.
/// Errors: std::system_error with errno codes; the overloads with an error_code set it instead, or clear it. A stream
///   that is closed, was moved from or never connected has bad_file_descriptor. A cancel throws `cancelled` in both
///   forms, and leaves the stream usable and no byte read from it lost.
/// Thread safety: one task may read while another writes, on different shards too. Two readers or two writers at once
///   are a broken contract (`concurrent_use`). shutdown() may be called at any time; all else needs the stream to
///   itself, but for tasks of the same shard that wait in it.
/// Lifetime: closes on destruction; whoever still waits on it is woken with operation_canceled. A stream belongs to
///   one runtime at a time, and may outlive it.
/// Nagle's algorithm is off, as in asyncio. For Asio and Beast wrap it: <roving/asio.hpp>.
class tcp_stream {
 public:
  /// A closed one.
  tcp_stream() noexcept = default;
  tcp_stream(tcp_stream&&) noexcept = default;
  tcp_stream& operator=(tcp_stream&&) noexcept = default;

  /// Connects. Needs a shard.
  ///
  /// Errors: connection_refused, timed_out, network_unreachable, ...; no_shard.
  [[nodiscard]] static tcp_stream connect(const endpoint& to);
  [[nodiscard]] static tcp_stream connect(const endpoint& to, std::error_code& error);

  /// Looks the host up, see <roving/resolve.hpp>, and tries its addresses one after the other.
  ///
  /// Errors: of resolve(), or of the last address that was tried.
  [[nodiscard]] static tcp_stream connect(std::string_view host, std::uint16_t port);
  [[nodiscard]] static tcp_stream connect(std::string_view host, std::uint16_t port, std::error_code& error);

  /// Waits until at least one byte can be read, then reads what is there, at most as much as fits.
  ///
  /// Returns the number of bytes; 0 when the peer has finished sending, or when there is no room at all.
  /// Errors: connection_reset, not_connected. Several buffers are filled one after the other, at most 64 in one call.
  std::size_t read_some(mutable_buffer into);
  std::size_t read_some(mutable_buffer into, std::error_code& error);
  std::size_t read_some(std::span<const mutable_buffer> into);
  std::size_t read_some(std::span<const mutable_buffer> into, std::error_code& error);

  /// Reads until the buffer is full.
  ///
  /// Errors: `end_of_stream`, which knows how much came, or the code io_errc::end_of_stream; as read_some(). The form
  /// with an error_code returns how much came. After a cancel nobody knows how much did.
  void read_exactly(mutable_buffer into);
  std::size_t read_exactly(mutable_buffer into, std::error_code& error);

  /// Waits until something can be written, and writes what the kernel takes. Returns the number of bytes.
  ///
  /// Errors: broken_pipe, connection_reset, not_connected. At most 64 buffers in one call.
  std::size_t write_some(const_buffer from);
  std::size_t write_some(const_buffer from, std::error_code& error);
  std::size_t write_some(std::span<const const_buffer> from);
  std::size_t write_some(std::span<const const_buffer> from, std::error_code& error);

  /// Writes all of it. Any number of buffers.
  ///
  /// Errors: as write_some(). The forms with an error_code return how much was written. After a cancel nobody knows how
  /// much was.
  void write_all(const_buffer from);
  std::size_t write_all(const_buffer from, std::error_code& error);
  void write_all(std::span<const const_buffer> from);
  std::size_t write_all(std::span<const const_buffer> from, std::error_code& error);

  /// Ends one way of the connection, or both. The peer reads the end of the stream; whoever waits here is woken. Does
  /// not suspend. Errors: not_connected.
  void shutdown(direction way);
  void shutdown(direction way, std::error_code& error) noexcept;

  /// Closes the socket. Whoever waits on it is woken with operation_canceled. Does not suspend. Again: nothing.
  void close() noexcept { handle_.close(); }

  [[nodiscard]] bool is_open() const noexcept { return handle_.is_open(); }

  [[nodiscard]] endpoint local_endpoint() const;
  [[nodiscard]] endpoint local_endpoint(std::error_code& error) const noexcept;
  [[nodiscard]] endpoint remote_endpoint() const;
  [[nodiscard]] endpoint remote_endpoint(std::error_code& error) const noexcept;

  /// Small writes go out at once (on, as it begins) or wait for an answer to earlier ones.
  void set_no_delay(bool on);
  void set_no_delay(bool on, std::error_code& error) noexcept;

  /// The kernel probes a connection that is silent for long.
  void set_keep_alive(bool on);
  void set_keep_alive(bool on, std::error_code& error) noexcept;

  /// How long the kernel goes on to send what is left after close(); zero resets the connection instead. Nothing: as
  /// the system does by itself.
  void set_linger(std::optional<std::chrono::seconds> span);
  void set_linger(std::optional<std::chrono::seconds> span, std::error_code& error) noexcept;

  /// Sizes of the kernel's buffers, in bytes. It may choose others.
  void set_receive_buffer_size(int bytes);
  void set_receive_buffer_size(int bytes, std::error_code& error) noexcept;
  void set_send_buffer_size(int bytes);
  void set_send_buffer_size(int bytes, std::error_code& error) noexcept;

  /// Has the next wait register with the shard on which it happens: for a long-lived stream whose task moved. Nobody
  /// may wait on it. Does not suspend.
  void rehome() noexcept { handle_.leave_poller(); }

  /// The descriptor, -1 when closed. It stays the stream's.
  [[nodiscard]] int native_handle() const noexcept { return handle_.fd(); }

 private:
  friend class tcp_listener;
  explicit tcp_stream(detail::stream_handle handle) noexcept : handle_{std::move(handle)} {}

  detail::stream_handle handle_;
};

}  // namespace roving

#pragma GCC visibility pop
