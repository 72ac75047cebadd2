// Connections: how they are made, and the calls of users in front of the handle.
#include <roving/tcp_stream.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <netinet/tcp.h>

#include <roving/io_error.hpp>
#include <roving/resolve.hpp>

#include "io/poller.hpp"
#include "io/socket_options.hpp"

namespace roving {
namespace {

using detail::error_of;
using detail::throw_on;

constexpr const char* connect_call = "tcp_stream::connect";
constexpr const char* read_some_call = "tcp_stream::read_some";
constexpr const char* read_exactly_call = "tcp_stream::read_exactly";
constexpr const char* write_some_call = "tcp_stream::write_some";
constexpr const char* write_all_call = "tcp_stream::write_all";

int shutdown_argument(direction way) noexcept {
  switch (way) {
    case direction::read:
      return SHUT_RD;
    case direction::write:
      return SHUT_WR;
    case direction::both:
      break;
  }
  return SHUT_RDWR;
}

// What became of a connect() that was under way.
std::error_code outcome_of_connect(const detail::io_handle& handle) noexcept {
  int outcome = 0;
  socklen_t size = sizeof(outcome);
  const int result = handle.calls().get_option(handle.fd(), SOL_SOCKET, SO_ERROR, &outcome, &size);
  return result < 0 ? error_of(result) : error_of(-outcome);
}

}  // namespace

tcp_stream tcp_stream::connect(const endpoint& to) {
  std::error_code error;
  tcp_stream connected = connect(to, error);
  if (error) throw std::system_error{error, std::string{connect_call} + " to " + to.to_string()};
  return connected;
}

tcp_stream tcp_stream::connect(const endpoint& to, std::error_code& error) {
  error.clear();
  const detail::system_calls& calls = detail::current_poller(connect_call).calls();
  const detail::socket_address address{to};
  const int fd = calls.open_socket(address.family(), SOCK_STREAM, IPPROTO_TCP);
  if (fd < 0) {
    error = error_of(fd);
    return {};
  }
  tcp_stream connecting{detail::stream_handle{fd, calls}};
  connecting.set_no_delay(true, error);
  const int result = calls.connect(fd, address.data(), address.size());
  if (result == -EINPROGRESS || result == -EINTR) {  // interrupted, it goes on all the same
    error = connecting.handle_.wait(detail::io_direction::write, false, connect_call);
    if (!error) error = outcome_of_connect(connecting.handle_);
  } else {
    error = error_of(std::min(result, 0));
  }
  if (error) return {};
  return connecting;
}

tcp_stream tcp_stream::connect(std::string_view host, std::uint16_t port) {
  std::error_code error;
  tcp_stream connected = connect(host, port, error);
  if (error)
    throw std::system_error{error,
                            std::string{connect_call} + " to " + std::string{host} + " port " + std::to_string(port)};
  return connected;
}

tcp_stream tcp_stream::connect(std::string_view host, std::uint16_t port, std::error_code& error) {
  const std::vector<endpoint> found = resolve(host, port, error);
  if (error) return {};
  error = error_of(-EADDRNOTAVAIL);  // unless there is one to try
  for (const endpoint& each : found) {
    tcp_stream connected = connect(each, error);
    if (!error) return connected;
  }
  return {};
}

std::size_t tcp_stream::read_some(mutable_buffer into, std::error_code& error) {
  return handle_.read_some(into, error, read_some_call);
}

std::size_t tcp_stream::read_some(mutable_buffer into) {
  std::error_code error;
  const std::size_t bytes = handle_.read_some(into, error, read_some_call);
  throw_on(error, read_some_call);
  return bytes;
}

std::size_t tcp_stream::read_some(std::span<const mutable_buffer> into, std::error_code& error) {
  return handle_.read_some(into, error, read_some_call);
}

std::size_t tcp_stream::read_some(std::span<const mutable_buffer> into) {
  std::error_code error;
  const std::size_t bytes = handle_.read_some(into, error, read_some_call);
  throw_on(error, read_some_call);
  return bytes;
}

std::size_t tcp_stream::read_exactly(mutable_buffer into, std::error_code& error) {
  return handle_.read_exactly(into, error, read_exactly_call);
}

void tcp_stream::read_exactly(mutable_buffer into) {
  std::error_code error;
  const std::size_t bytes = handle_.read_exactly(into, error, read_exactly_call);
  if (error == io_errc::end_of_stream) throw end_of_stream{read_exactly_call, bytes};
  throw_on(error, read_exactly_call);
}

std::size_t tcp_stream::write_some(const_buffer from, std::error_code& error) {
  return handle_.write_some(from, error, write_some_call);
}

std::size_t tcp_stream::write_some(const_buffer from) {
  std::error_code error;
  const std::size_t bytes = handle_.write_some(from, error, write_some_call);
  throw_on(error, write_some_call);
  return bytes;
}

std::size_t tcp_stream::write_some(std::span<const const_buffer> from, std::error_code& error) {
  return handle_.write_some(from, error, write_some_call);
}

std::size_t tcp_stream::write_some(std::span<const const_buffer> from) {
  std::error_code error;
  const std::size_t bytes = handle_.write_some(from, error, write_some_call);
  throw_on(error, write_some_call);
  return bytes;
}

std::size_t tcp_stream::write_all(const_buffer from, std::error_code& error) {
  return handle_.write_all(from, error, write_all_call);
}

void tcp_stream::write_all(const_buffer from) {
  std::error_code error;
  handle_.write_all(from, error, write_all_call);
  throw_on(error, write_all_call);
}

std::size_t tcp_stream::write_all(std::span<const const_buffer> from, std::error_code& error) {
  return handle_.write_all(from, error, write_all_call);
}

void tcp_stream::write_all(std::span<const const_buffer> from) {
  std::error_code error;
  handle_.write_all(from, error, write_all_call);
  throw_on(error, write_all_call);
}

void tcp_stream::shutdown(direction way, std::error_code& error) noexcept {
  handle_.shutdown(shutdown_argument(way), error);
}

void tcp_stream::shutdown(direction way) {
  std::error_code error;
  shutdown(way, error);
  throw_on(error, "tcp_stream::shutdown");
}

endpoint tcp_stream::local_endpoint(std::error_code& error) const noexcept {
  return detail::name_of(handle_, &detail::system_calls::local_name, error);
}

endpoint tcp_stream::local_endpoint() const {
  std::error_code error;
  const endpoint found = local_endpoint(error);
  throw_on(error, "tcp_stream::local_endpoint");
  return found;
}

endpoint tcp_stream::remote_endpoint(std::error_code& error) const noexcept {
  return detail::name_of(handle_, &detail::system_calls::peer_name, error);
}

endpoint tcp_stream::remote_endpoint() const {
  std::error_code error;
  const endpoint found = remote_endpoint(error);
  throw_on(error, "tcp_stream::remote_endpoint");
  return found;
}

void tcp_stream::set_no_delay(bool on, std::error_code& error) noexcept {
  detail::set_option(handle_, IPPROTO_TCP, TCP_NODELAY, int{on}, error);
}

void tcp_stream::set_no_delay(bool on) {
  std::error_code error;
  set_no_delay(on, error);
  throw_on(error, "tcp_stream::set_no_delay");
}

void tcp_stream::set_keep_alive(bool on, std::error_code& error) noexcept {
  detail::set_option(handle_, SOL_SOCKET, SO_KEEPALIVE, int{on}, error);
}

void tcp_stream::set_keep_alive(bool on) {
  std::error_code error;
  set_keep_alive(on, error);
  throw_on(error, "tcp_stream::set_keep_alive");
}

void tcp_stream::set_linger(std::optional<std::chrono::seconds> span, std::error_code& error) noexcept {
  linger value{};
  value.l_onoff = span ? 1 : 0;
  value.l_linger = span ? static_cast<decltype(value.l_linger)>(span->count()) : 0;
  detail::set_option(handle_, SOL_SOCKET, SO_LINGER, value, error);
}

void tcp_stream::set_linger(std::optional<std::chrono::seconds> span) {
  std::error_code error;
  set_linger(span, error);
  throw_on(error, "tcp_stream::set_linger");
}

void tcp_stream::set_receive_buffer_size(int bytes, std::error_code& error) noexcept {
  detail::set_option(handle_, SOL_SOCKET, SO_RCVBUF, bytes, error);
}

void tcp_stream::set_receive_buffer_size(int bytes) {
  std::error_code error;
  set_receive_buffer_size(bytes, error);
  throw_on(error, "tcp_stream::set_receive_buffer_size");
}

void tcp_stream::set_send_buffer_size(int bytes, std::error_code& error) noexcept {
  detail::set_option(handle_, SOL_SOCKET, SO_SNDBUF, bytes, error);
}

void tcp_stream::set_send_buffer_size(int bytes) {
  std::error_code error;
  set_send_buffer_size(bytes, error);
  throw_on(error, "tcp_stream::set_send_buffer_size");
}

}  // namespace roving
