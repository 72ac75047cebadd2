// Options and names of sockets, for every kind of socket that io/ has.
#pragma once

#include <system_error>

#include <roving/detail/io_handle.hpp>
#include <roving/endpoint.hpp>

#include "io/errors.hpp"
#include "io/socket_address.hpp"
#include "io/system_calls.hpp"

namespace roving::detail {

template <class Value>
void set_option(const io_handle& handle, int level, int name, const Value& value, std::error_code& error) noexcept {
  error.clear();
  const int result =
      handle.is_open() ? handle.calls().set_option(handle.fd(), level, name, &value, sizeof(value)) : -EBADF;
  if (result < 0) error = error_of(result);
}

/// `ask` is system_calls::local_name or peer_name.
[[nodiscard]] inline endpoint name_of(const io_handle& handle,
                                      int (system_calls::*ask)(int, sockaddr*, socklen_t*) const noexcept,
                                      std::error_code& error) noexcept {
  error.clear();
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  sockaddr* const address = reinterpret_cast<sockaddr*>(&storage);
  const int result = handle.is_open() ? (handle.calls().*ask)(handle.fd(), address, &size) : -EBADF;
  if (result < 0) {
    error = error_of(result);
    return {};
  }
  return from_socket_address(address, size).value_or(endpoint{});
}

}  // namespace roving::detail
