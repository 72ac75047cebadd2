// An address and a port: where a socket is bound, or connects to.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)

namespace roving {

/// An IPv4 or IPv6 address with a port. A value: cheap to copy, ordered, hashable.
///
/// Only addresses as numbers: for names see <roving/resolve.hpp>.
/// Suspends: never. Thread safety: as any value.
class endpoint {
 public:
  /// 0.0.0.0:0.
  constexpr endpoint() noexcept = default;

  /// Of an address as text: "127.0.0.1", "::1", "fe80::1%eth0".
  ///
  /// Errors: std::system_error with invalid_argument when it is no address.
  endpoint(std::string_view address, std::uint16_t port);

  /// Of both as text: "127.0.0.1:80", "[::1]:80". Errors: as above.
  explicit endpoint(std::string_view address_and_port);

  /// The same, or nothing when the text is no such thing.
  [[nodiscard]] static std::optional<endpoint> parse(std::string_view address_and_port) noexcept;

  /// The same for an address alone.
  [[nodiscard]] static std::optional<endpoint> parse(std::string_view address, std::uint16_t port) noexcept;

  /// Of the address' bytes in network order.
  [[nodiscard]] static endpoint ipv4(std::array<std::uint8_t, 4> bytes, std::uint16_t port) noexcept;
  [[nodiscard]] static endpoint ipv6(std::array<std::uint8_t, 16> bytes, std::uint16_t port,
                                     std::uint32_t scope = 0) noexcept;

  [[nodiscard]] bool is_ipv6() const noexcept { return is_ipv6_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

  /// In network order: 16 of them, of which IPv4 has the first 4.
  [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const noexcept { return bytes_; }

  /// The number of the interface of a link-local IPv6 address, 0 if there is none.
  [[nodiscard]] std::uint32_t scope() const noexcept { return scope_; }

  [[nodiscard]] endpoint with_port(std::uint16_t port) const noexcept {
    endpoint changed = *this;
    changed.port_ = port;
    return changed;
  }

  /// "127.0.0.1", "::1".
  [[nodiscard]] std::string address() const;

  /// "127.0.0.1:80", "[::1]:80". The constructor reads it back.
  [[nodiscard]] std::string to_string() const;

  friend auto operator<=>(const endpoint&, const endpoint&) noexcept = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
  std::uint32_t scope_ = 0;
  std::uint16_t port_ = 0;
  bool is_ipv6_ = false;
};

}  // namespace roving

template <>
struct std::hash<roving::endpoint> {
  std::size_t operator()(const roving::endpoint& of) const noexcept;
};

#pragma GCC visibility pop
