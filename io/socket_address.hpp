// Between endpoint, which every user sees, and the kernel's sockaddr, which none should.
#pragma once

#include <optional>

#include <netinet/in.h>
#include <sys/socket.h>

#include <roving/endpoint.hpp>

namespace roving::detail {

/// An endpoint in the kernel's words.
class socket_address {
 public:
  explicit socket_address(const endpoint& from) noexcept;

  [[nodiscard]] const sockaddr* data() const noexcept { return &address_.any; }
  [[nodiscard]] socklen_t size() const noexcept { return size_; }
  [[nodiscard]] int family() const noexcept { return address_.any.sa_family; }

 private:
  union any_address {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
  };
  any_address address_;
  socklen_t size_;
};

/// Nothing when it is neither IPv4 nor IPv6.
[[nodiscard]] std::optional<endpoint> from_socket_address(const sockaddr* address, socklen_t size) noexcept;

}  // namespace roving::detail
