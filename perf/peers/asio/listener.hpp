// The listening socket of the Asio servers, and the whole of those that are coroutines.
#pragma once

#include <cstdint>
#include <utility>

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

/// As what it awaits throws nothing, a client that is gone costs no exception.
inline constexpr auto as_tuple = boost::asio::as_tuple(boost::asio::use_awaitable);

/// Starts a coroutine, answer(socket), for each connection.
template <class Answer>
boost::asio::awaitable<void> serve(boost::asio::ip::tcp::acceptor acceptor, Answer answer) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(as_tuple);
    if (error) continue;
    socket.set_option(boost::asio::ip::tcp::no_delay{true});
    boost::asio::co_spawn(acceptor.get_executor(), answer(std::move(socket)), boost::asio::detached);
  }
}

/// What such a server's main() does.
template <class Answer>
void run_coroutines(int count, char** arguments, Answer answer) {
  boost::asio::io_context context{1};
  boost::asio::co_spawn(context, serve(listen_on(context, port_of(count, arguments)), answer), boost::asio::detached);
  context.run();
}

}  // namespace roving_perf
