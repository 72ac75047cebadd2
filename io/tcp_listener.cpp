// Listening and accepting.
#include <roving/tcp_listener.hpp>

#include <string>

#include <netinet/tcp.h>

#include "io/poller.hpp"
#include "io/socket_options.hpp"

namespace roving {
namespace {

using detail::error_of;
using detail::throw_on;

constexpr const char* listen_call = "tcp_listener";
constexpr const char* accept_call = "tcp_listener::accept";

// What accept() may say of one connection that is gone again, which is no matter of the listener: the next may be fine.
// (Linux hands down what the network said of the connection.)
bool is_about_the_connection(int result) noexcept {
  switch (-result) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
#if defined(ENONET)
    case ENONET:
#endif
      return true;
    default:
      return false;
  }
}

}  // namespace

tcp_listener::tcp_listener(const endpoint& at, const listen_options& options, std::error_code& error)
    : options_{options} {
  error.clear();
  const detail::system_calls& calls = detail::current_poller(listen_call).calls();
  const detail::socket_address address{at};
  const int fd = calls.open_socket(address.family(), SOCK_STREAM, IPPROTO_TCP);
  if (fd < 0) {
    error = error_of(fd);
    return;
  }
  detail::io_handle opened{fd, calls};
  const auto set = [&](int level, int name, bool on) {
    if (!error) detail::set_option(opened, level, name, int{on}, error);
  };
  set(SOL_SOCKET, SO_REUSEADDR, options.reuse_address);
  if (options.reuse_port) set(SOL_SOCKET, SO_REUSEPORT, true);
  if (at.is_ipv6()) set(IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6_only);
  set(IPPROTO_TCP, TCP_NODELAY, true);  // accepted streams inherit it
  if (error) return;
  int result = calls.bind(fd, address.data(), address.size());
  if (result >= 0) result = calls.listen(fd, options.backlog);
  if (result < 0)
    error = error_of(result);
  else
    handle_ = std::move(opened);
}

tcp_listener::tcp_listener(const endpoint& at, const listen_options& options) {
  std::error_code error;
  *this = tcp_listener{at, options, error};
  if (error) throw std::system_error{error, std::string{listen_call} + " at " + at.to_string()};
}

tcp_stream tcp_listener::accept(std::error_code& error) {
  error.clear();
  if (!is_open()) {
    error = error_of(-EBADF);
    return {};
  }
  for (;;) {
    const detail::system_calls& calls = handle_.calls();
    const int result = calls.accept(handle_.fd());
    if (result >= 0) return tcp_stream{detail::stream_handle{result, calls}};
    if (is_about_the_connection(result)) continue;
    error =
        detail::would_block(result) ? handle_.wait(detail::io_direction::read, false, accept_call) : error_of(result);
    if (error) return {};
  }
}

tcp_stream tcp_listener::accept() {
  std::error_code error;
  tcp_stream accepted = accept(error);
  throw_on(error, accept_call);
  return accepted;
}

tcp_listener tcp_listener::sibling(std::error_code& error) const {
  const endpoint at = local_endpoint(error);
  // Who shares a port must have said so before others bind to it, not before its own bind.
  if (!error) detail::set_option(handle_, SOL_SOCKET, SO_REUSEPORT, int{1}, error);
  if (error) return {};
  listen_options options = options_;
  options.reuse_port = true;
  return tcp_listener{at, options, error};
}

tcp_listener tcp_listener::sibling() const {
  std::error_code error;
  tcp_listener made = sibling(error);
  throw_on(error, "tcp_listener::sibling");
  return made;
}

endpoint tcp_listener::local_endpoint(std::error_code& error) const noexcept {
  return detail::name_of(handle_, &detail::system_calls::local_name, error);
}

endpoint tcp_listener::local_endpoint() const {
  std::error_code error;
  const endpoint found = local_endpoint(error);
  throw_on(error, "tcp_listener::local_endpoint");
  return found;
}

}  // namespace roving
