// A TCP socket that takes connections.
#pragma once

#include <system_error>

#include <roving/detail/io_handle.hpp>
#include <roving/endpoint.hpp>
#include <roving/tcp_stream.hpp>

#pragma GCC visibility push(default)

namespace roving {

struct listen_options {
  int backlog = 4096;         // connections that wait to be accepted, at most; the kernel has a limit of its own
  bool reuse_address = true;  // may bind where connections of an earlier listener still die
  bool reuse_port = false;    // several listeners may share the port; the kernel spreads connections over them
  bool ipv6_only = false;     // an IPv6 listener takes no IPv4
};

/// A TCP socket that takes connections.
///
/// Suspends: accept, when none is there. It parks the calling task, never its shard.
/// Thread safety: one task accepts at a time (`concurrent_use`). All else needs the listener to itself, but for a
///   task of the same shard that waits in accept.
/// Lifetime: closes on destruction; who still waits is woken with operation_canceled. It may outlive its runtime.
class tcp_listener {
 public:
  /// A closed one.
  tcp_listener() noexcept = default;

  /// Binds and listens. Port 0: the kernel chooses one, see local_endpoint(). Needs a shard.
  ///
  /// Errors: address_in_use, permission_denied, address_not_available; no_shard.
  explicit tcp_listener(const endpoint& at, const listen_options& options = {});
  tcp_listener(const endpoint& at, const listen_options& options, std::error_code& error);

  tcp_listener(tcp_listener&&) noexcept = default;
  tcp_listener& operator=(tcp_listener&&) noexcept = default;

  /// Waits for a connection.
  ///
  /// Errors: too_many_files_open, too_many_files_open_in_system, no_buffer_space, not_enough_memory: the connection
  /// stays where it is, and the listener usable; wait a little. operation_canceled when closed, bad_file_descriptor
  /// afterwards. Throws `cancelled` in both forms; no connection is lost then. Connections that died before they were
  /// accepted are passed over.
  [[nodiscard]] tcp_stream accept();
  [[nodiscard]] tcp_stream accept(std::error_code& error);

  /// Another listener on the same address and port, for another shard: the kernel spreads new connections over them
  /// by a hash of the addresses. Does not suspend.
  ///
  /// Errors: as for the constructor.
  [[nodiscard]] tcp_listener sibling() const;
  [[nodiscard]] tcp_listener sibling(std::error_code& error) const;

  [[nodiscard]] endpoint local_endpoint() const;
  [[nodiscard]] endpoint local_endpoint(std::error_code& error) const noexcept;

  /// Closes it; whoever waits is woken with operation_canceled. Does not suspend. Again: nothing.
  void close() noexcept { handle_.close(); }

  [[nodiscard]] bool is_open() const noexcept { return handle_.is_open(); }

  /// Has the next wait register with the shard on which it happens. Nobody may wait. Does not suspend.
  void rehome() noexcept { handle_.leave_poller(); }

  /// The descriptor, -1 when closed. It stays the listener's.
  [[nodiscard]] int native_handle() const noexcept { return handle_.fd(); }

 private:
  detail::io_handle handle_;
  listen_options options_;
};

}  // namespace roving

#pragma GCC visibility pop
