// Serving connections: accept them, and run a handler for each as a task of its own.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <roving/placement.hpp>
#include <roving/tcp_listener.hpp>
#include <roving/tcp_stream.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// Where serve() takes connections.
///
/// every_shard: on all of them, and how depends on how the listener was opened. With listen_options::reuse_port each
/// shard gets a listening socket of its own, and the kernel spreads connections by a hash of their addresses: nothing
/// is handed over, but few connections land unevenly. Without it there is the one socket, the calling shard accepts,
/// and each connection is handed to the shard that has the fewest: even, for a message between shards each.
enum class accepting : std::uint8_t { calling_shard, every_shard };

inline constexpr accepting every_shard = accepting::every_shard;

/// For serve_options::handlers: stays on the shard that got the connection.
inline constexpr placement pinned = here;

struct serve_options {
  accepting accept = accepting::calling_shard;
  placement handlers{};                            // where they run; as serve()'s task unless told
  std::size_t max_connections = 0;                 // handlers at a time; accepting pauses there. 0: as many as come
  std::size_t stack_size_bytes = 0;                // of a handler; 0: options.stack_size_bytes
  std::optional<duration> grace{};                 // for handlers to end by themselves after a cancel. None: for ever
  duration retry_after = std::chrono::seconds{1};  // when there are no descriptors or no memory for a connection
  std::function<void(const std::error_code&)> on_accept_error{};  // at each such pause
  std::function<void(const std::exception_ptr&)> on_error{};      // a handler threw
};

namespace detail {

/// The handler of a serve(), whatever its type. Called by several tasks at a time.
struct connection_handler {
  void* object;
  void (*call)(void* object, tcp_stream&& connection);
};

void serve(tcp_listener& listener, const serve_options& options, connection_handler handler, spawn_site site);

}  // namespace detail

/// Accepts connections and calls `handler(tcp_stream)` for each in a task of its own, until it is cancelled or
/// `listener` is closed. Then it accepts no more and waits until all handlers have ended; after options.grace, or at a
/// second cancel, it cancels them, and still waits.
///
/// By default everything stays where the caller is: the calling shard accepts, handlers have the placement of the
/// caller's task. With every_shard, or with handlers anywhere, `handler` runs on several shards at once and what it
/// shares has to bear that. It is one object, called for all connections.
///
/// What a handler throws ends its connection and no other: it goes to options.on_error, or to the runtime's
/// on_unhandled. Without descriptors or memory (too_many_files_open, too_many_files_open_in_system, no_buffer_space,
/// not_enough_memory) the connection stays with the kernel and is tried again after options.retry_after; each time is
/// told to options.on_accept_error, or to on_unhandled. Both hooks are called in tasks, by several at once where
/// handlers are.
///
/// Returns when the listener was closed. It stays open after a cancel: what the kernel has queued, another serve() may
/// take.
/// Suspends: yes.
/// Errors: `cancelled`, once all handlers have ended; not_in_task; std::system_error for what the listener can't
///   recover from, with every_shard also from making the other sockets; std::out_of_range, std::invalid_argument for
///   options of the handlers' tasks.
/// Thread safety: the listener belongs to this call until it returns, but for close() in a task of the same shard.
template <class Handler>
requires std::invocable<Handler&, tcp_stream>
void serve(tcp_listener& listener, const serve_options& options, Handler handler,
           spawn_site site = spawn_site::current()) {
  detail::serve(listener, options,
                {std::addressof(handler),
                 [](void* object, tcp_stream&& connection) {
                   (void)std::invoke(*static_cast<Handler*>(object), std::move(connection));
                 }},
                site);
}

/// The same with the default options.
template <class Handler>
requires std::invocable<Handler&, tcp_stream>
void serve(tcp_listener& listener, Handler handler, spawn_site site = spawn_site::current()) {
  serve(listener, serve_options{}, std::move(handler), site);
}

}  // namespace roving

#pragma GCC visibility pop
