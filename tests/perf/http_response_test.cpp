// Tested: what the load generator understands of a response.
#include "perf/http_response.hpp"

#include <string>
#include <string_view>

#include "tests/support/catch.hpp"

using roving_perf::http_response_head;
using state = http_response_head::state;

TEST_CASE("http response: status, length and end of the head are found", "[perf][http]") {
  const std::string head = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 12\r\n\r\n";
  const auto found = http_response_head::of(head + "Hello, world");
  CHECK(found.is == state::complete);
  CHECK(found.status == 200);
  CHECK(found.head_bytes == head.size());
  CHECK(found.body_bytes == 12);
  CHECK(found.keeps_alive);
}

TEST_CASE("http response: it is incomplete until its empty line came", "[perf][http]") {
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  for (std::size_t size = 0; size < head.size(); ++size)
    CHECK(http_response_head::of(std::string_view{head}.substr(0, size)).is == state::incomplete);
  CHECK(http_response_head::of(head).is == state::complete);
}

TEST_CASE("http response: names and values of fields are read as HTTP says", "[perf][http]") {
  const auto found = http_response_head::of("HTTP/1.1 404 \r\ncOnTeNt-LeNgTh:\t 7 \r\nCONNECTION:Close\r\n\r\n");
  CHECK(found.is == state::complete);
  CHECK(found.status == 404);
  CHECK(found.body_bytes == 7);
  CHECK_FALSE(found.keeps_alive);
}

TEST_CASE("http response: HTTP/1.0 closes unless it says otherwise", "[perf][http]") {
  CHECK_FALSE(http_response_head::of("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keeps_alive);
  CHECK(http_response_head::of("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n").keeps_alive);
}

TEST_CASE("http response: some statuses have no body, others need a length", "[perf][http]") {
  CHECK(http_response_head::of("HTTP/1.1 204 No Content\r\n\r\n").is == state::complete);
  const auto found = http_response_head::of("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
  CHECK(found.is == state::complete);
  CHECK(found.body_bytes == 0);
  CHECK(http_response_head::of("HTTP/1.1 200 OK\r\n\r\n").is == state::invalid);
}

TEST_CASE("http response: what is none is refused", "[perf][http]") {
  for (const char* const text : {
           "\r\n\r\n",
           "200 OK\r\nContent-Length: 0\r\n\r\n",
           "HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
           "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
           "HTTP/1.1 2000\r\nContent-Length: 0\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: 1 2\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
           "HTTP/1.1 200 OK\r\nno field\r\nContent-Length: 0\r\n\r\n",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
       }) {
    INFO(text);
    CHECK(http_response_head::of(text).is == state::invalid);
  }
}
