// Names to addresses.
#pragma once

#include <cstdint>
#include <string_view>
#include <system_error>
#include <vector>

#include <roving/endpoint.hpp>

#pragma GCC visibility push(default)

namespace roving {

enum class address_family : std::uint8_t { any, ipv4, ipv6 };

/// Looks up the addresses of a host, each with `port`, in the order in which they should be tried. At least one.
///
/// An address as text is returned as it is, at once. A name is looked up as the system does it, getaddrinfo, which
/// blocks and therefore runs on the blocking pool.
/// Suspends: for a name. A cancel throws `cancelled` at once; the look-up ends by itself later.
/// Errors: std::system_error with a code of resolve_category(), or errno's; for a name also no_shard, not_in_task,
///   runtime_closed.
[[nodiscard]] std::vector<endpoint> resolve(std::string_view host, std::uint16_t port,
                                            address_family family = address_family::any);
[[nodiscard]] std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, std::error_code& error);
[[nodiscard]] std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, address_family family,
                                            std::error_code& error);

/// The category of getaddrinfo's errors (EAI_NONAME and so on), named "roving.resolve".
[[nodiscard]] const std::error_category& resolve_category() noexcept;

}  // namespace roving

#pragma GCC visibility pop
