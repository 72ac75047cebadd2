// Tested: resolve(), as far as it needs no network: addresses as text, the host's own name, and a name that can't be.

#include <roving/resolve.hpp>

#include <algorithm>

#include <netdb.h>

#include <roving/error.hpp>
#include <roving/run.hpp>
#include <roving/sleep.hpp>
#include <roving/spawn.hpp>
#include <roving/tcp_listener.hpp>
#include <roving/tcp_stream.hpp>

#include "tests/support/catch.hpp"

using roving::address_family;
using roving::endpoint;

TEST_CASE("resolve: an address as text is itself, without a shard", "[io][resolve]") {
  CHECK(roving::resolve("127.0.0.1", 80) == std::vector{endpoint{"127.0.0.1:80"}});
  CHECK(roving::resolve("::1", 80, address_family::ipv6) == std::vector{endpoint{"[::1]:80"}});
  std::error_code error;
  CHECK(roving::resolve("::1", 80, address_family::ipv4, error).empty());
  CHECK(error == std::error_code(EAI_NONAME, roving::resolve_category()));
}

TEST_CASE("resolve: localhost is the loopback address", "[io][resolve]") {
  std::vector<endpoint> found;
  std::vector<endpoint> ipv4;
  roving::run({.shards = 1}, [&] {
    found = roving::resolve("localhost", 1234);
    ipv4 = roving::resolve("localhost", 1234, address_family::ipv4);
  });
  REQUIRE_FALSE(found.empty());
  for (const endpoint& each : found) CHECK(each.port() == 1234);
  CHECK(std::find(ipv4.begin(), ipv4.end(), endpoint{"127.0.0.1:1234"}) != ipv4.end());
}

TEST_CASE("resolve: a name that can't be ends with an error", "[io][resolve]") {
  std::error_code set;
  std::error_code thrown;
  bool no_text = false;
  std::size_t found = 99;
  roving::run({.shards = 1}, [&] {
    found = roving::resolve("no.such.name.invalid", 80, set).size();
    try {
      (void)roving::resolve("no.such.name.invalid", 80);
    } catch (const std::system_error& failure) {
      thrown = failure.code();
      no_text = std::string{failure.what()}.find("no.such.name.invalid") == std::string::npos;
    }
  });
  CHECK(found == 0);
  CHECK(set);
  CHECK(thrown == set);
  CHECK_FALSE(no_text);
  CHECK_FALSE(set.message().empty());
}

TEST_CASE("resolve: connect takes a name", "[io][resolve]") {
  std::string got(5, ' ');
  std::error_code unknown;
  roving::run({.shards = 1}, [&] {
    roving::tcp_listener listener{{"127.0.0.1", 0}};
    auto server = roving::spawn([&] { listener.accept().write_all("hello"); });
    roving::tcp_stream client = roving::tcp_stream::connect("localhost", listener.local_endpoint().port());
    client.read_exactly(got);
    server.get();
    (void)roving::tcp_stream::connect("no.such.name.invalid", 80, unknown);
  });
  CHECK(got == "hello");
  CHECK(unknown);
}

TEST_CASE("resolve: a name off every shard is refused", "[io][resolve]") {
  CHECK_THROWS_AS(roving::resolve("localhost", 80), roving::no_shard);
}

TEST_CASE("resolve: a cancel ends it at once, whether it waits for a thread or has one", "[io][resolve]") {
  // Some are cancelled before they begin, some while a thread looks up, some too late.
  int ended = 0;
  int odd = 0;
  roving::run({.shards = 1}, [&] {
    std::vector<roving::task<std::size_t>> asking;
    for (int i = 0; i < 100; ++i) {
      asking.push_back(roving::spawn([] { return roving::resolve("localhost", 80).size(); }));
      if (i % 2 == 0) roving::yield();
      if (i >= 4) asking[static_cast<std::size_t>(i - i % 5)].cancel();
    }
    for (auto& each : asking) {
      each.join();
      ++ended;
      if (!each.cancelled() && each.get() == 0) ++odd;
    }
  });
  CHECK(ended == 100);
  CHECK(odd == 0);
}
