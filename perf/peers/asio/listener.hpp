// The listening socket of the Asio servers.
#pragma once

#include <cstdint>

#include <boost/asio.hpp>

#include "perf/peers/server.hpp"

namespace roving_perf {

inline boost::asio::ip::tcp::acceptor listen_on(boost::asio::io_context& context, std::uint16_t port) {
  using boost::asio::ip::tcp;
  const tcp::endpoint where{boost::asio::ip::address_v4::loopback(), port};
  tcp::acceptor acceptor{context};
  acceptor.open(where.protocol());
  acceptor.set_option(tcp::acceptor::reuse_address{true});
  acceptor.bind(where);
  acceptor.listen(backlog);
  say_port(acceptor.local_endpoint().port());
  return acceptor;
}

}  // namespace roving_perf
