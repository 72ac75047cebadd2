// An echo server by Asio's coroutines: `echo_coroutines [--port N]`, ended by a signal.
#include <array>
#include <cstddef>

#include <boost/asio.hpp>

#include "perf/peers/asio/listener.hpp"

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using roving_perf::as_tuple;

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

}  // namespace

int main(int count, char** arguments) { roving_perf::run_coroutines(count, arguments, &answer); }
