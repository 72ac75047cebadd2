// Tested: the package. A server and a client talk over loopback; an exception crosses a shared library's border.
#include <cstdio>
#include <stdexcept>
#include <string_view>

#include <roving/roving.hpp>

int main() {
  return roving::run({.shards = 2}, [] {
    roving::tcp_listener listener{{"127.0.0.1", 0}};
    auto echo = roving::spawn([&] {
      roving::tcp_stream peer = listener.accept();
      char bytes[5];
      peer.read_exactly({bytes, sizeof bytes});
      peer.write_all({bytes, sizeof bytes});
    });
    roving::tcp_stream client = roving::tcp_stream::connect(listener.local_endpoint());
    client.write_all({"hello", 5});
    char answer[5];
    client.read_exactly({answer, sizeof answer});
    echo.get();

    bool timed_out = false;
    try {
      roving::with_timeout(std::chrono::milliseconds{1}, [] { roving::sleep_for(std::chrono::hours{1}); });
    } catch (const roving::timeout_error&) {
      timed_out = true;
    }
    const bool is_good = std::string_view{answer, sizeof answer} == "hello" && timed_out;
    std::puts(is_good ? "roving works" : "roving does not work");
    return is_good ? 0 : 1;
  });
}
