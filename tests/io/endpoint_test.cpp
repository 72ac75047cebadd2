// Tested: endpoint: text there and back, order, hash.

#include <roving/endpoint.hpp>

#include <set>
#include <system_error>
#include <unordered_set>

#include <netinet/in.h>

#include "io/socket_address.hpp"
#include "tests/support/catch.hpp"

using roving::endpoint;

TEST_CASE("endpoint: text is read, and written back the same", "[io][endpoint]") {
  for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80", "[::]:0",
                           "[fe80::1%7]:443", "[2001:db8::ff00:42:8329]:8080"})
    CHECK(endpoint{text}.to_string() == text);
  CHECK(endpoint{"127.0.0.1", 80} == endpoint{"127.0.0.1:80"});
  CHECK(endpoint{"::1", 80} == endpoint{"[::1]:80"});
  CHECK(endpoint{"::1", 80}.address() == "::1");
  CHECK(endpoint{}.to_string() == "0.0.0.0:0");
  CHECK(endpoint{"10.1.2.3", 4}.with_port(5).to_string() == "10.1.2.3:5");
  CHECK(endpoint::ipv4({10, 1, 2, 3}, 4) == endpoint{"10.1.2.3:4"});
}

TEST_CASE("endpoint: what is no address is refused", "[io][endpoint]") {
  for (const char* text : {"",
                           ":",
                           ":80",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1: 80",
                           "127.0.0.1:80x",
                           "127.0.0:80",
                           "localhost:80",
                           "::1",
                           "::1:80",
                           "[::1]",
                           "[::1:80",
                           "[127.0.0.1]:80",
                           "[]:80",
                           "[fe80::1%]:80",
                           "[fe80::1%no-such-interface]:80",
                           "[:::]:80"}) {
    CAPTURE(text);
    CHECK_FALSE(endpoint::parse(text).has_value());
    CHECK_THROWS_AS(endpoint{text}, std::system_error);
  }
  CHECK_FALSE(endpoint::parse("localhost", 80).has_value());
  CHECK_FALSE(endpoint::parse(std::string_view{"127.0.0.1\0", 10}, 80).has_value());
  CHECK_THROWS_AS((endpoint{"example.org", 80}), std::system_error);
}

TEST_CASE("endpoint: it is ordered and hashable", "[io][endpoint]") {
  const endpoint first{"127.0.0.1:80"};
  const endpoint second{"127.0.0.1:81"};
  const endpoint third{"[::1]:80"};
  CHECK(std::set<endpoint>{first, second, third, first}.size() == 3);
  CHECK(std::unordered_set<endpoint>{first, second, third, first}.size() == 3);
  CHECK(first < second);
  CHECK(endpoint{"0.0.0.0:0"} != endpoint{"[::]:0"});
}

TEST_CASE("endpoint: the kernel's form there and back", "[io][endpoint]") {
  for (const char* text : {"1.2.3.4:5", "[2001:db8::1]:6", "[fe80::1%7]:443"}) {
    const roving::detail::socket_address address{endpoint{text}};
    CHECK(roving::detail::from_socket_address(address.data(), address.size()) == endpoint{text});
  }
  sockaddr other{};
  other.sa_family = AF_UNIX;
  CHECK_FALSE(roving::detail::from_socket_address(&other, sizeof(other)).has_value());
}
