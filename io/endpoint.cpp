// Addresses as text, as bytes and as the kernel has them.
#include <roving/endpoint.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <system_error>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include "io/socket_address.hpp"

namespace roving {
namespace {

[[noreturn]] void throw_no_address(std::string_view text) {
  throw std::system_error{std::make_error_code(std::errc::invalid_argument),
                          "endpoint: \"" + std::string{text} + "\" is not an address (names go through resolve())"};
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) noexcept {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// A copy with the zero at its end that the C functions want; nothing when it does not fit.
template <std::size_t Size>
bool copy_terminated(std::string_view from, std::array<char, Size>& to) noexcept {
  if (from.empty() || from.size() >= Size || from.find('\0') != std::string_view::npos) return false;
  *std::copy(from.begin(), from.end(), to.begin()) = '\0';
  return true;
}

std::optional<std::uint32_t> parse_scope(std::string_view text) noexcept {
  if (const auto number = parse_number<std::uint32_t>(text)) return number;
  std::array<char, IF_NAMESIZE> name;
  if (!copy_terminated(text, name)) return std::nullopt;
  const unsigned index = ::if_nametoindex(name.data());
  return index == 0 ? std::nullopt : std::optional{std::uint32_t{index}};
}

}  // namespace

endpoint::endpoint(std::string_view address, std::uint16_t port) {
  const auto parsed = parse(address, port);
  if (!parsed) throw_no_address(address);
  *this = *parsed;
}

endpoint::endpoint(std::string_view address_and_port) {
  const auto parsed = parse(address_and_port);
  if (!parsed) throw_no_address(address_and_port);
  *this = *parsed;
}

std::optional<endpoint> endpoint::parse(std::string_view address_and_port) noexcept {
  const std::size_t colon = address_and_port.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = parse_number<std::uint16_t>(address_and_port.substr(colon + 1));
  std::string_view address = address_and_port.substr(0, colon);
  const bool in_brackets = address.size() >= 2 && address.front() == '[' && address.back() == ']';
  if (in_brackets) address = address.substr(1, address.size() - 2);
  // An IPv6 address without brackets could end in a port or not: nobody can tell.
  if (!port || in_brackets != (address.find(':') != std::string_view::npos)) return std::nullopt;
  return parse(address, *port);
}

std::optional<endpoint> endpoint::parse(std::string_view address, std::uint16_t port) noexcept {
  std::array<char, INET6_ADDRSTRLEN> text;
  if (address.find(':') == std::string_view::npos) {
    std::array<std::uint8_t, 4> bytes;
    if (!copy_terminated(address, text) || ::inet_pton(AF_INET, text.data(), bytes.data()) != 1) return std::nullopt;
    return ipv4(bytes, port);
  }
  std::uint32_t scope = 0;
  if (const std::size_t percent = address.find('%'); percent != std::string_view::npos) {
    const auto parsed = parse_scope(address.substr(percent + 1));
    if (!parsed) return std::nullopt;
    scope = *parsed;
    address = address.substr(0, percent);
  }
  std::array<std::uint8_t, 16> bytes;
  if (!copy_terminated(address, text) || ::inet_pton(AF_INET6, text.data(), bytes.data()) != 1) return std::nullopt;
  return ipv6(bytes, port, scope);
}

endpoint endpoint::ipv4(std::array<std::uint8_t, 4> bytes, std::uint16_t port) noexcept {
  endpoint made;
  std::copy(bytes.begin(), bytes.end(), made.bytes_.begin());
  made.port_ = port;
  return made;
}

endpoint endpoint::ipv6(std::array<std::uint8_t, 16> bytes, std::uint16_t port, std::uint32_t scope) noexcept {
  endpoint made;
  made.bytes_ = bytes;
  made.scope_ = scope;
  made.port_ = port;
  made.is_ipv6_ = true;
  return made;
}

std::string endpoint::address() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(is_ipv6_ ? AF_INET6 : AF_INET, bytes_.data(), text.data(), static_cast<socklen_t>(text.size()));
  std::string made{text.data()};
  if (scope_ != 0) made += '%' + std::to_string(scope_);
  return made;
}

std::string endpoint::to_string() const {
  return (is_ipv6_ ? '[' + address() + ']' : address()) + ':' + std::to_string(port_);
}

namespace detail {

socket_address::socket_address(const endpoint& from) noexcept : address_{}, size_{} {
  if (from.is_ipv6()) {
    address_.ipv6 = sockaddr_in6{};
    address_.ipv6.sin6_family = AF_INET6;
    address_.ipv6.sin6_port = htons(from.port());
    address_.ipv6.sin6_scope_id = from.scope();
    std::memcpy(&address_.ipv6.sin6_addr, from.bytes().data(), 16);
    size_ = sizeof(address_.ipv6);
  } else {
    address_.ipv4 = sockaddr_in{};
    address_.ipv4.sin_family = AF_INET;
    address_.ipv4.sin_port = htons(from.port());
    std::memcpy(&address_.ipv4.sin_addr, from.bytes().data(), 4);
    size_ = sizeof(address_.ipv4);
  }
}

std::optional<endpoint> from_socket_address(const sockaddr* address, socklen_t size) noexcept {
  if (address->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in from;
    std::memcpy(&from, address, sizeof(from));
    std::array<std::uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &from.sin_addr, bytes.size());
    return endpoint::ipv4(bytes, ntohs(from.sin_port));
  }
  if (address->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 from;
    std::memcpy(&from, address, sizeof(from));
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &from.sin6_addr, bytes.size());
    return endpoint::ipv6(bytes, ntohs(from.sin6_port), from.sin6_scope_id);
  }
  return std::nullopt;
}

}  // namespace detail
}  // namespace roving

std::size_t std::hash<roving::endpoint>::operator()(const roving::endpoint& of) const noexcept {
  std::array<char, 22> all;
  std::memcpy(all.data(), of.bytes().data(), 16);
  const std::uint32_t scope = of.scope();
  const std::uint16_t port = of.port();
  std::memcpy(&all[16], &scope, sizeof(scope));
  std::memcpy(&all[20], &port, sizeof(port));
  return std::hash<std::string_view>{}({all.data(), all.size()});
}
