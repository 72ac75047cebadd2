// An echo server by Asio's coroutines: `echo_coroutines [--port N]`, ended by a signal.
#include <array>
#include <cstddef>
#include <utility>

#include <boost/asio.hpp>

#include "perf/peers/asio/listener.hpp"

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// As what it awaits throws nothing, a client that is gone costs no exception.
constexpr auto as_tuple = asio::as_tuple(asio::use_awaitable);

asio::awaitable<void> answer(tcp::socket socket) {
  std::array<char, 4096> buffer;
  for (;;) {
    const auto [error, bytes] = co_await socket.async_read_some(asio::buffer(buffer), as_tuple);
    if (error) co_return;
    const auto [write_error, written] =
        co_await asio::async_write(socket, asio::buffer(buffer.data(), bytes), as_tuple);
    if (write_error) co_return;
  }
}

asio::awaitable<void> serve(tcp::acceptor acceptor) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(as_tuple);
    if (error) continue;
    socket.set_option(tcp::no_delay{true});
    asio::co_spawn(acceptor.get_executor(), answer(std::move(socket)), asio::detached);
  }
}

}  // namespace

int main(int count, char** arguments) {
  asio::io_context context{1};
  asio::co_spawn(context, serve(roving_perf::listen_on(context, roving_perf::port_of(count, arguments))),
                 asio::detached);
  context.run();
}
