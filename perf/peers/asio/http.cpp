// Boost.Beast on Asio's coroutines, answering each request with a few bytes: `http [--port N]`, ended by a signal.
#include <boost/asio.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "perf/peers/asio/listener.hpp"

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using roving_perf::as_tuple;

asio::awaitable<void> answer(tcp::socket socket) {
  boost::beast::flat_buffer buffer;
  for (bool keeps_alive = true; keeps_alive;) {
    http::request<http::empty_body> request;
    const auto [error, bytes] = co_await http::async_read(socket, buffer, request, as_tuple);
    if (error) co_return;
    keeps_alive = request.keep_alive();
    http::response<http::string_body> response{http::status::ok, request.version()};
    response.set(http::field::content_type, "text/plain");
    response.keep_alive(keeps_alive);
    response.body() = "hello\n";
    response.prepare_payload();
    const auto [write_error, written] = co_await http::async_write(socket, response, as_tuple);
    if (write_error) co_return;
  }
}

}  // namespace

int main(int count, char** arguments) { roving_perf::run_coroutines(count, arguments, &answer); }
