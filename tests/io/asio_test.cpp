// Tested: asio_stream: Boost.Beast's HTTP and WebSocket run on tasks, as the blocking code they are; client and
// server in one runtime.

#include <roving/asio.hpp>

#include <optional>
#include <string>
#include <vector>

#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <roving/run.hpp>
#include <roving/sleep.hpp>
#include <roving/spawn.hpp>
#include <roving/tcp_listener.hpp>

#include "tests/support/catch.hpp"

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;
using stream_type = roving::asio_stream<roving::tcp_stream>;

static_assert(beast::is_sync_stream<stream_type>::value);
static_assert(beast::is_sync_stream<roving::asio_stream<roving::tcp_stream&>>::value);

const roving::endpoint loopback{"127.0.0.1", 0};

// Answers with method, target and body, until the client is done.
void serve_http(stream_type stream) {
  beast::flat_buffer buffer;
  for (;;) {
    http::request<http::string_body> request;
    boost::system::error_code error;
    http::read(stream, buffer, request, error);
    if (error == http::error::end_of_stream) break;
    if (error) throw boost::system::system_error{error};
    http::response<http::string_body> response{http::status::ok, request.version()};
    response.keep_alive(request.keep_alive());
    response.body() = std::string{request.method_string()} + ' ' + std::string{request.target()} + ' ' + request.body();
    response.prepare_payload();
    http::write(stream, response);
    if (!response.keep_alive()) break;
  }
  stream.next_layer().shutdown(roving::direction::write);
}

struct http_pair {
  explicit http_pair(roving::placement where = roving::here)
      : server{roving::spawn(where, [this] { serve_http(stream_type{listener.accept()}); })},
        client{roving::tcp_stream::connect(listener.local_endpoint())} {}

  std::string ask(http::verb method, const std::string& target, const std::string& body, bool keep_alive = true) {
    http::request<http::string_body> request{method, target, 11};
    request.set(http::field::host, "localhost");
    request.keep_alive(keep_alive);
    request.body() = body;
    request.prepare_payload();
    http::write(client, request);
    http::response<http::string_body> response;
    http::read(client, buffer, response);
    return response.body();
  }

  roving::tcp_listener listener{loopback};
  roving::task<void> server;
  stream_type client;
  beast::flat_buffer buffer;
};

}  // namespace

TEST_CASE("asio: Beast's HTTP runs on tasks: GET, POST and keep-alive", "[io][asio]") {
  const unsigned shards = GENERATE(1u, 2u);
  const auto where = GENERATE(roving::here, roving::anywhere);
  std::vector<std::string> answers;
  roving::run({.shards = shards}, [&] {
    http_pair both{where};
    answers.push_back(both.ask(http::verb::get, "/first", ""));
    answers.push_back(both.ask(http::verb::post, "/second", "a body"));
    answers.push_back(both.ask(http::verb::post, "/large", std::string(900'000, 'x')));
    answers.push_back(both.ask(http::verb::get, "/last", "", false));
    both.server.get();
  });
  REQUIRE(answers.size() == 4);
  CHECK(answers[0] == "GET /first ");
  CHECK(answers[1] == "POST /second a body");
  CHECK(answers[2] == "POST /large " + std::string(900'000, 'x'));
  CHECK(answers[3] == "GET /last ");
}

TEST_CASE("asio: a chunked request that comes in pieces is put together", "[io][asio]") {
  std::string answer;
  roving::run({.shards = 1}, [&] {
    http_pair both;
    for (const char* piece : {"POST /chunks HTTP/1.1\r\nHost: localhost\r\nTransfer-Enc", "oding: chunked\r\n\r",
                              "\n5\r\nhel", "lo\r\n6;an=extension\r\n world\r\n", "0\r\n\r\n"}) {
      both.client.next_layer().write_all(piece);
      for (int i = 0; i < 3; ++i) roving::yield();
    }
    http::response<http::string_body> response;
    http::read(both.client, both.buffer, response);
    answer = response.body();
    both.client.next_layer().close();
    both.server.get();
  });
  CHECK(answer == "POST /chunks hello world");
}

TEST_CASE("asio: the end of the stream is asio's eof, and errors keep their codes", "[io][asio]") {
  boost::system::error_code at_end;
  boost::system::error_code thrown;
  boost::system::error_code closed;
  boost::system::error_code nothing_asked = asio::error::eof;
  std::size_t bytes = 0;
  std::string text(64, ' ');
  roving::run({.shards = 1}, [&] {
    roving::tcp_listener listener{loopback};
    auto server = roving::spawn([&] { listener.accept().write_all("hello"); });
    stream_type client{roving::tcp_stream::connect(listener.local_endpoint())};
    bytes = asio::read(client, asio::buffer(text), at_end);  // until it is full, or the end
    client.read_some(asio::mutable_buffer{}, nothing_asked);
    try {
      client.read_some(asio::buffer(text));
    } catch (const boost::system::system_error& failure) {
      thrown = failure.code();
    }
    client.next_layer().close();
    client.read_some(asio::buffer(text), closed);
    server.get();
  });
  CHECK(bytes == 5);
  CHECK(text.substr(0, 5) == "hello");
  CHECK(at_end == asio::error::eof);
  CHECK(thrown == asio::error::eof);
  CHECK_FALSE(nothing_asked);
  CHECK(closed == asio::error::bad_descriptor);
}

TEST_CASE("asio: our errors in Boost's words", "[io][asio]") {
  CHECK_FALSE(roving::to_boost({}));
  CHECK(roving::to_boost(roving::io_errc::end_of_stream) == asio::error::eof);
  CHECK(roving::to_boost({ECONNRESET, std::system_category()}) == asio::error::connection_reset);
  CHECK(roving::to_boost({ECANCELED, std::system_category()}) == asio::error::operation_aborted);
  CHECK(roving::to_boost(std::make_error_code(std::errc::broken_pipe)) == asio::error::broken_pipe);
}

TEST_CASE("asio: sequences of buffers are read and written at once", "[io][asio]") {
  std::string first(3, ' ');
  std::string second(4, ' ');
  std::size_t written = 0;
  std::size_t read = 0;
  roving::run({.shards = 1}, [&] {
    roving::tcp_listener listener{loopback};
    stream_type client{roving::tcp_stream::connect(listener.local_endpoint())};
    stream_type server{listener.accept()};
    const std::vector<asio::const_buffer> from{asio::buffer("ab", 2), asio::const_buffer{}, asio::buffer("cdefg", 5)};
    written = asio::write(client, from);
    const std::vector<asio::mutable_buffer> into{asio::buffer(first), asio::buffer(second)};
    read = asio::read(server, into);
  });
  CHECK(written == 7);
  CHECK(read == 7);
  CHECK(first + second == "abcdefg");
}

TEST_CASE("asio: Beast's WebSocket runs on tasks: messages of each size, and the closing handshake", "[io][asio]") {
  std::vector<std::size_t> sizes;
  bool same = true;
  bool closed = false;
  roving::run({.shards = 2}, [&] {
    roving::tcp_listener listener{loopback};
    auto server = roving::spawn(roving::anywhere, [&] {
      websocket::stream<stream_type> peer{listener.accept()};
      peer.accept();
      for (;;) {
        beast::flat_buffer buffer;
        boost::system::error_code error;
        peer.read(buffer, error);
        if (error == websocket::error::closed) {
          closed = true;
          break;
        }
        if (error) throw boost::system::system_error{error};
        peer.binary(true);
        peer.write(buffer.data());
      }
    });
    websocket::stream<stream_type> client{roving::tcp_stream::connect(listener.local_endpoint())};
    client.handshake("localhost", "/");
    client.binary(true);
    for (const std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{70'000}, std::size_t{1'000'000}}) {
      const std::string sent(size, 'w');
      client.write(asio::buffer(sent));
      beast::flat_buffer buffer;
      client.read(buffer);
      sizes.push_back(buffer.size());
      same = same && beast::buffers_to_string(buffer.data()) == sent;
    }
    client.close(websocket::close_code::normal);
    server.get();
  });
  CHECK(sizes == std::vector<std::size_t>{0, 5, 70'000, 1'000'000});
  CHECK(same);
  CHECK(closed);
}

TEST_CASE("asio: asynchronous operations compile, and complete with operation_not_supported", "[io][asio]") {
  asio::io_context context;
  stream_type stream{roving::tcp_stream{}, context};
  std::vector<boost::system::error_code> ended;
  std::string text(4, ' ');
  stream.async_read_some(asio::buffer(text),
                         [&](boost::system::error_code error, std::size_t) { ended.push_back(error); });
  stream.async_write_some(asio::buffer(text),
                          [&](boost::system::error_code error, std::size_t) { ended.push_back(error); });
  CHECK(ended.empty());  // not before anybody runs the executor
  context.run();
  CHECK(ended == std::vector<boost::system::error_code>(2, asio::error::operation_not_supported));
}

TEST_CASE("asio: a cancel passes through Beast, and the stream is usable afterwards", "[io][asio]") {
  bool cancelled = false;
  std::string answer;
  roving::run({.shards = 1}, [&] {
    http_pair both;
    auto reader = roving::spawn([&] {
      http::response<http::string_body> response;
      http::read(both.client, both.buffer, response);
    });
    for (int i = 0; i < 10; ++i) roving::yield();
    reader.cancel();
    reader.join();
    cancelled = reader.cancelled();
    answer = both.ask(http::verb::get, "/after", "", false);
    both.server.get();
  });
  CHECK(cancelled);
  CHECK(answer == "GET /after ");
}
