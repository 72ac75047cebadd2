// Tested: tcp_stream and tcp_listener, on loopback. Tasks write down what they saw; the test's own thread checks it
// after run().

#include <roving/tcp_listener.hpp>
#include <roving/tcp_stream.hpp>

#include <array>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <roving/error.hpp>
#include <roving/io_error.hpp>
#include <roving/run.hpp>
#include <roving/sleep.hpp>
#include <roving/spawn.hpp>
#include <roving/this_task.hpp>

#include "tests/support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using roving::direction;
using roving::endpoint;
using roving::tcp_listener;
using roving::tcp_stream;

const endpoint loopback{"127.0.0.1", 0};

// The two ends of one connection.
struct connection {
  tcp_stream client;
  tcp_stream server;
};

connection connect_pair(const endpoint& at = loopback) {
  tcp_listener listener{at};
  auto accepting = roving::spawn([&] { return listener.accept(); });
  connection made;
  made.client = tcp_stream::connect(listener.local_endpoint());
  made.server = std::move(accepting).get();
  return made;
}

// Lets others run until it is so; false when it never comes to that.
template <class Condition>
bool yield_until(Condition holds) {
  for (const auto end = roving::now() + 30s; roving::now() < end; roving::yield())
    if (holds()) return true;
  return false;
}

// What a call ended in.
std::error_code code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::system_error& thrown) {
    return thrown.code();
  }
  return {};
}

std::string read_all(tcp_stream& from) {
  std::string all;
  std::array<char, 4096> block;
  while (const std::size_t bytes = from.read_some(block)) all.append(block.data(), bytes);
  return all;
}

}  // namespace

TEST_CASE("tcp: an echo server answers", "[io][tcp]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const auto where = GENERATE(roving::here, roving::anywhere);
  std::vector<std::string> answers;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener{loopback};
    auto server = roving::spawn(where, [&] {
      for (int i = 0; i < 8; ++i) {
        roving::spawn(where, [stream = listener.accept()]() mutable {
          std::array<std::byte, 1000> block;
          while (const std::size_t bytes = stream.read_some(block))
            stream.write_all(roving::const_buffer{block.data(), bytes});
        }).detach();
      }
    });
    std::vector<roving::task<std::string>> clients;
    for (int i = 0; i < 8; ++i)
      clients.push_back(roving::spawn(where, [i, to = listener.local_endpoint()] {
        tcp_stream stream = tcp_stream::connect(to);
        std::string answer;
        for (int round = 0; round < 20; ++round) {
          const std::string sent = "client " + std::to_string(i) + " round " + std::to_string(round) + '\n';
          stream.write_all(sent);
          std::string got(sent.size(), ' ');
          stream.read_exactly(got);
          answer += got;
        }
        stream.shutdown(direction::write);
        return answer + read_all(stream);
      }));
    for (auto& each : clients) answers.push_back(std::move(each).get());
    server.get();
  });
  REQUIRE(answers.size() == 8);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    std::string expected;
    for (int round = 0; round < 20; ++round)
      expected += "client " + std::to_string(i) + " round " + std::to_string(round) + '\n';
    CHECK(answers[i] == expected);
  }
}

TEST_CASE("tcp: the end of the stream is no bytes, again and again", "[io][tcp]") {
  std::vector<std::size_t> reads;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    both.client.write_all("abc");
    both.client.shutdown(direction::write);
    std::array<char, 16> block;
    for (int i = 0; i < 4; ++i) reads.push_back(both.server.read_some(block));
    both.server.write_all("the other way still works");
    std::string answer(25, ' ');
    both.client.read_exactly(answer);
  });
  CHECK(reads == std::vector<std::size_t>{3, 0, 0, 0});
}

TEST_CASE("tcp: a read that ends a wait by the peer's end sees it, also after a short read", "[io][tcp]") {
  // The end comes in the same event as the data: nothing will tell of it again.
  std::vector<std::size_t> reads;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    auto reader = roving::spawn([&] {
      std::array<char, 16> block;
      for (int i = 0; i < 3; ++i) reads.push_back(both.server.read_some(block));
    });
    roving::yield();  // it waits
    both.client.write_all("abc");
    both.client.close();
    reader.get();
  });
  CHECK(reads == std::vector<std::size_t>{3, 0, 0});
}

TEST_CASE("tcp: read_exactly fills the buffer, or says how much came", "[io][tcp]") {
  std::string whole(10, ' ');
  std::string cut(10, ' ');
  std::size_t came = 0;
  std::error_code cut_code;
  std::error_code again;
  std::size_t again_came = 99;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    auto writer = roving::spawn([&] {
      for (const char* piece : {"01", "234", "56789", "abc"}) {
        both.client.write_all(piece);
        roving::yield();
      }
      both.client.shutdown(direction::write);
    });
    both.server.read_exactly(whole);
    try {
      both.server.read_exactly(cut);
    } catch (const roving::end_of_stream& thrown) {
      came = thrown.bytes_read();
      cut_code = thrown.code();
    }
    again_came = both.server.read_exactly(cut, again);
    writer.get();
  });
  CHECK(whole == "0123456789");
  CHECK(came == 3);
  CHECK(cut.substr(0, 3) == "abc");
  CHECK(cut_code == roving::io_errc::end_of_stream);
  CHECK(again == roving::io_errc::end_of_stream);
  CHECK(again_came == 0);
}

TEST_CASE("tcp: several buffers are filled and written as one", "[io][tcp]") {
  std::string first(3, ' ');
  std::string second(4, ' ');
  std::size_t bytes = 0;
  std::string many;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    const std::array<roving::const_buffer, 4> from{"ab", "", "cde", "fg"};
    both.client.write_all(from);
    bytes = both.server.read_some(std::array<roving::mutable_buffer, 3>{first, roving::mutable_buffer{}, second});
    // More than go into one call.
    const std::vector<roving::const_buffer> hundred(100, "xyz");
    both.client.write_all(hundred);
    both.client.shutdown(direction::write);
    many = read_all(both.server);
  });
  CHECK(bytes == 7);
  CHECK(first + second == "abcdefg");
  CHECK(many.size() == 300);
}

TEST_CASE("tcp: sixteen mebibytes arrive as they were sent, both ways at once", "[io][tcp]") {
  const unsigned shards = GENERATE(1u, 2u);
  const auto where = GENERATE(roving::here, roving::anywhere);
  constexpr std::size_t size = 16U << 20U;
  std::vector<unsigned char> sent(size);
  unsigned value = 1;
  for (auto& each : sent) each = static_cast<unsigned char>((value = value * 1664525U + 1013904223U) >> 24U);
  std::vector<unsigned char> there(size);
  std::vector<unsigned char> back(size);
  roving::run({.shards = shards}, [&] {
    connection both = connect_pair();
    auto writer = roving::spawn(where, [&] { both.client.write_all(sent); });
    auto reader = roving::spawn(where, [&] { both.server.read_exactly(there); });
    auto back_writer = roving::spawn(where, [&] {
      const std::size_t half = size / 2;
      const std::array<roving::const_buffer, 2> halves{roving::const_buffer{sent.data(), half},
                                                       roving::const_buffer{sent.data() + half, half}};
      both.server.write_all(halves);
    });
    both.client.read_exactly(back);
    writer.get();
    reader.get();
    back_writer.get();
  });
  CHECK(there == sent);
  CHECK(back == sent);
}

TEST_CASE("tcp: connecting to a port where nobody listens is refused", "[io][tcp]") {
  std::error_code thrown;
  std::error_code set;
  bool is_open = true;
  roving::run({.shards = 1}, [&] {
    const int bound = ::socket(AF_INET, SOCK_STREAM, 0);  // and not listening: nobody else gets the port meanwhile
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    if (::bind(bound, name, size) != 0 || ::getsockname(bound, name, &size) != 0) return;
    const endpoint closed{"127.0.0.1", ntohs(address.sin_port)};
    thrown = code_of([&] { (void)tcp_stream::connect(closed); });
    is_open = tcp_stream::connect(closed, set).is_open();
    ::close(bound);
  });
  CHECK(thrown == std::errc::connection_refused);
  CHECK(set == std::errc::connection_refused);
  CHECK_FALSE(is_open);
}

TEST_CASE("tcp: a reset is an error of who reads and of who writes", "[io][tcp]") {
  std::error_code read;
  std::error_code written;
  roving::run({.shards = 1}, [&] {
    {
      connection both = connect_pair();
      auto reader = roving::spawn([&] {
        std::array<char, 16> block;
        read = code_of([&] { both.server.read_some(block); });
      });
      roving::yield();
      both.client.set_linger(0s);
      both.client.close();
      reader.get();
    }
    connection both = connect_pair();
    auto writer = roving::spawn([&] {
      const std::vector<char> block(1U << 20U);
      written = code_of([&] {
        for (;;) both.server.write_all(block);
      });
    });
    roving::yield();
    both.client.set_linger(0s);
    both.client.close();
    writer.get();
  });
  CHECK(read == std::errc::connection_reset);
  CHECK((written == std::errc::connection_reset || written == std::errc::broken_pipe));
}

TEST_CASE("tcp: writing to a peer that is gone is an error and no signal", "[io][tcp]") {
  std::error_code error;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    both.client.close();
    while (!error) both.server.write_some("x", error);
  });
  CHECK((error == std::errc::broken_pipe || error == std::errc::connection_reset));
}

TEST_CASE("tcp: a cancelled read leaves the stream usable and loses nothing", "[io][tcp]") {
  const unsigned shards = GENERATE(1u, 2u);
  const auto where = GENERATE(roving::here, roving::anywhere);
  const auto poll = GENERATE(roving::poll_policy::every_generation, roving::poll_policy::now_and_then);
  int cancelled = 0;
  int stuck = 0;
  std::string got;
  std::string expected;
  roving::run({.shards = shards, .poll = poll}, [&] {
    connection both = connect_pair();
    const auto read = [&] {
      std::array<char, 64> block;  // each read is short, so that the next one waits for an edge
      const std::size_t bytes = both.server.read_some(block);
      got.append(block.data(), bytes);
    };
    for (int round = 0; round < 200; ++round) {
      auto reader = roving::spawn(where, read);
      if (round % 5 != 0) roving::yield();
      const std::string sent(1, static_cast<char>('a' + round % 26));
      switch (round % 3) {
        case 0:  // the event comes first, and is granted before the reader runs
          both.client.write_all(sent);
          roving::yield();
          reader.cancel();
          break;
        case 1:  // the cancel comes first, and the event before the reader runs
          both.client.write_all(sent);
          reader.cancel();
          break;
        default:  // the cancel comes first
          reader.cancel();
          both.client.write_all(sent);
      }
      expected += sent;
      reader.join();
      if (got.size() == expected.size()) continue;  // it was through already
      ++cancelled;
      auto again = roving::spawn(where, read);  // nothing more is sent: it has to find what is there
      if (!yield_until([&] { return again.done(); })) {
        ++stuck;
        again.cancel();
        again.join();
      }
    }
    both.client.shutdown(direction::write);
    got += read_all(both.server);
  });
  CHECK(got == expected);
  CHECK(cancelled > 0);
  CHECK(stuck == 0);
}

TEST_CASE("tcp: a cancelled write leaves the stream usable", "[io][tcp]") {
  bool cancelled = false;
  std::size_t first = 0;
  std::size_t read = 0;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    both.client.set_send_buffer_size(4096);
    auto writer = roving::spawn([&] {
      const std::vector<char> block(4096, 'x');
      for (;;) first += both.client.write_some(block);
    });
    yield_until([&, before = std::size_t{0}]() mutable { return std::exchange(before, first) == first && first > 0; });
    writer.cancel();
    writer.join();
    cancelled = writer.cancelled();
    auto last = roving::spawn([&] {
      both.client.write_all("end");
      both.client.shutdown(direction::write);
    });
    read = read_all(both.server).size();
    last.get();
  });
  CHECK(cancelled);
  CHECK(read == first + 3);
}

TEST_CASE("tcp: a cancelled accept loses no connection", "[io][tcp]") {
  bool cancelled = false;
  std::string got;
  roving::run({.shards = 1}, [&] {
    tcp_listener listener{loopback};
    auto accepting = roving::spawn([&] { return listener.accept(); });
    roving::yield();
    auto client = roving::spawn([&] {
      tcp_stream stream = tcp_stream::connect(listener.local_endpoint());
      stream.write_all("hello");
    });
    accepting.cancel();
    accepting.join();
    cancelled = accepting.cancelled();
    if (cancelled) {
      tcp_stream stream = listener.accept();
      got = read_all(stream);
    }
    client.get();
  });
  CHECK(cancelled);
  CHECK(got == "hello");
}

TEST_CASE("tcp: a cancelled connect ends", "[io][tcp]") {
  bool ended_cancelled = false;
  roving::run({.shards = 1}, [&] {
    // A listener whose backlog is full does not answer, so that a connect has to wait.
    tcp_listener listener{loopback, {.backlog = 0}};
    std::vector<tcp_stream> waiting;
    std::vector<roving::task<tcp_stream>> connecting;
    for (int i = 0; i < 8; ++i)
      connecting.push_back(roving::spawn([to = listener.local_endpoint()] { return tcp_stream::connect(to); }));
    for (int i = 0; i < 1000; ++i) roving::yield();
    for (auto& each : connecting) {
      each.cancel();
      each.join();
      ended_cancelled = ended_cancelled || each.cancelled();
    }
  });
  CHECK(ended_cancelled);
}

TEST_CASE("tcp: closing wakes who reads, who writes and who accepts", "[io][tcp]") {
  std::error_code read;
  std::error_code written;
  std::error_code accepted;
  std::error_code afterwards;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    auto reader = roving::spawn([&] {
      std::array<char, 16> block;
      both.server.read_some(block, read);
    });
    auto writer = roving::spawn([&] {
      const std::vector<char> block(1U << 20U);
      while (!written) both.server.write_all(block, written);
    });
    roving::yield();
    both.server.close();
    reader.get();
    writer.get();
    both.server.write_some("x", afterwards);

    tcp_listener listener{loopback};
    auto accepting = roving::spawn([&] { (void)listener.accept(accepted); });
    roving::yield();
    listener.close();
    accepting.get();
  });
  CHECK(read == std::errc::operation_canceled);
  CHECK(written == std::errc::operation_canceled);
  CHECK(accepted == std::errc::operation_canceled);
  CHECK(afterwards == std::errc::bad_file_descriptor);
}

TEST_CASE("tcp: a stream that is destroyed wakes who reads from it", "[io][tcp]") {
  std::error_code read;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    auto stream = std::make_unique<tcp_stream>(std::move(both.server));
    auto reader = roving::spawn([&] {
      std::array<char, 16> block;
      stream->read_some(block, read);
    });
    roving::yield();
    stream.reset();
    reader.get();
  });
  CHECK(read == std::errc::operation_canceled);
}

TEST_CASE("tcp: a second reader is refused, and a writer beside a reader is not", "[io][tcp]") {
  bool refused = false;
  std::string got;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    auto reader = roving::spawn([&] {
      std::string block(5, ' ');
      both.server.read_exactly(block);
      got = block;
    });
    roving::yield();
    try {
      std::array<char, 16> block;
      both.server.read_some(block);
    } catch (const roving::concurrent_use&) {
      refused = true;
    }
    both.server.write_all("a writer");
    both.client.write_all("hello");
    reader.get();
  });
  CHECK(refused);
  CHECK(got == "hello");
}

TEST_CASE("tcp: a closed stream says so in every call", "[io][tcp]") {
  std::vector<std::error_code> codes;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    tcp_stream moved = std::move(both.client);
    tcp_stream fresh;
    for (tcp_stream* each : {&fresh, &both.client}) {
      std::array<char, 4> block;
      codes.push_back(code_of([&] { each->read_some(block); }));
      codes.push_back(code_of([&] { each->read_exactly(block); }));
      codes.push_back(code_of([&] { each->write_some("x"); }));
      codes.push_back(code_of([&] { each->write_all("x"); }));
      codes.push_back(code_of([&] { each->shutdown(direction::both); }));
      codes.push_back(code_of([&] { (void)each->local_endpoint(); }));
      codes.push_back(code_of([&] { (void)each->remote_endpoint(); }));
      codes.push_back(code_of([&] { each->set_no_delay(true); }));
    }
    tcp_listener listener;
    codes.push_back(code_of([&] { (void)listener.accept(); }));
    codes.push_back(code_of([&] { (void)listener.local_endpoint(); }));
  });
  for (const std::error_code& each : codes) CHECK(each == std::errc::bad_file_descriptor);
}

TEST_CASE("tcp: both ends know their endpoints", "[io][tcp]") {
  connection both;  // may outlive the runtime, if nobody waits on it
  roving::run({.shards = 1}, [&] { both = connect_pair(); });
  CHECK(both.client.remote_endpoint() == both.server.local_endpoint());
  CHECK(both.client.local_endpoint() == both.server.remote_endpoint());
  CHECK(both.client.remote_endpoint().address() == "127.0.0.1");
  CHECK(both.client.remote_endpoint().port() != 0);
}

TEST_CASE("tcp: a listener and a stream go on in another runtime", "[io][tcp]") {
  tcp_listener listener;
  connection both;
  std::vector<std::string> got;
  for (int i = 0; i < 3; ++i)
    roving::run({.shards = 1}, [&] {
      if (!listener.is_open()) {
        listener = tcp_listener{loopback};
        both = connect_pair();
      }
      auto accepting = roving::spawn([&] { return listener.accept(); });
      auto reader = roving::spawn([&] {
        std::string block(3, ' ');
        both.server.read_exactly(block);
        got.push_back(block);
      });
      roving::yield();
      tcp_stream client = tcp_stream::connect(listener.local_endpoint());
      both.client.write_all("abc");
      accepting.join();
      reader.join();
    });
  CHECK(got == std::vector<std::string>{"abc", "abc", "abc"});
}

TEST_CASE("tcp: binding where somebody listens is refused", "[io][tcp]") {
  std::error_code thrown;
  std::error_code set;
  roving::run({.shards = 1}, [&] {
    tcp_listener first{loopback};
    thrown = code_of([&] { tcp_listener second{first.local_endpoint()}; });
    tcp_listener third{first.local_endpoint(), {}, set};
  });
  CHECK(thrown == std::errc::address_in_use);
  CHECK(set == std::errc::address_in_use);
}

TEST_CASE("tcp: siblings share a port, and each connection reaches one of them", "[io][tcp]") {
  constexpr int connections = 64;
  std::array<int, 3> accepted{};
  roving::run({.shards = 2}, [&] {
    tcp_listener listener{loopback};
    std::vector<tcp_listener> all;
    all.push_back(listener.sibling());
    all.push_back(all.front().sibling());
    all.push_back(std::move(listener));
    int total = 0;
    std::vector<roving::task<void>> accepting;
    for (std::size_t i = 0; i < all.size(); ++i)
      accepting.push_back(roving::spawn([&, i] {
        for (;;) {
          tcp_stream stream = all[i].accept();
          ++accepted[i];
          ++total;
        }
      }));
    std::vector<tcp_stream> clients;
    for (int i = 0; i < connections; ++i) clients.push_back(tcp_stream::connect(all[0].local_endpoint()));
    yield_until([&] { return total == connections; });
  });
  CHECK(std::accumulate(accepted.begin(), accepted.end(), 0) == connections);
}

TEST_CASE("tcp: accept reports that no descriptor is left, and goes on when one is", "[io][tcp]") {
  std::error_code thrown;
  std::error_code set;
  bool accepted = false;
  roving::run({.shards = 1}, [&] {
    tcp_listener listener{loopback};
    tcp_stream client = tcp_stream::connect(listener.local_endpoint());
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    rlimit none = before;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_NOFILE, &none);
    thrown = code_of([&] { (void)listener.accept(); });
    (void)listener.accept(set);
    ::setrlimit(RLIMIT_NOFILE, &before);
    accepted = listener.accept().is_open();
  });
  CHECK(thrown == std::errc::too_many_files_open);
  CHECK(set == std::errc::too_many_files_open);
  CHECK(accepted);
}

TEST_CASE("tcp: what follows urgent data is read", "[io][tcp]") {
  // A read ends at urgent data: it is short although more is there, of which nothing will tell.
  if (std::string_view{ROVING_TEST_POLLER} == "kqueue") return;  // only macOS's tells of urgent data
  std::string got(11, ' ');
  bool was_through = false;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    auto reader = roving::spawn([&] { both.server.read_exactly(got); });
    roving::yield();
    both.client.write_all("before");
    static_cast<void>(::send(both.client.native_handle(), "!", 1, MSG_OOB));
    both.client.write_all("after");
    was_through = yield_until([&] { return reader.done(); });
    both.client.close();
    reader.join();
  });
  CHECK(was_through);
  CHECK(got == "beforeafter");
}

TEST_CASE("tcp: options reach the socket", "[io][tcp]") {
  int no_delay_first = -1;
  int no_delay_accepted = -1;
  int no_delay = -1;
  int keep_alive = -1;
  const auto ask = [](const tcp_stream& of, int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    ::getsockopt(of.native_handle(), level, name, &value, &size);
    return value;
  };
  constexpr int tcp_level = 6;
  constexpr int tcp_no_delay = 1;
  roving::run({.shards = 1}, [&] {
    connection both = connect_pair();
    no_delay_first = ask(both.client, tcp_level, tcp_no_delay);
    no_delay_accepted = ask(both.server, tcp_level, tcp_no_delay);
    both.client.set_no_delay(false);
    both.client.set_keep_alive(true);
    both.client.set_receive_buffer_size(20000);
    both.client.set_send_buffer_size(20000);
    both.client.set_linger(std::nullopt);
    no_delay = ask(both.client, tcp_level, tcp_no_delay);
    keep_alive = ask(both.client, SOL_SOCKET, SO_KEEPALIVE);
  });
  CHECK(no_delay_first != 0);
  CHECK(no_delay_accepted != 0);
  CHECK(no_delay == 0);
  CHECK(keep_alive != 0);
}

TEST_CASE("tcp: IPv6 works where the system has it", "[io][tcp]") {
  const int probe = ::socket(AF_INET6, SOCK_STREAM, 0);
  if (probe < 0) return;
  ::close(probe);
  std::string got;
  std::string from;
  std::error_code error;
  roving::run({.shards = 1}, [&] {
    tcp_listener listener{{"::1", 0}, {}, error};
    if (error) return;
    tcp_stream client = tcp_stream::connect(listener.local_endpoint());
    tcp_stream server = listener.accept();
    from = server.remote_endpoint().address();
    client.write_all("six");
    client.close();
    got = read_all(server);
  });
  if (error == std::errc::address_not_available) return;
  CHECK_FALSE(error);
  CHECK(from == "::1");
  CHECK(got == "six");
}

TEST_CASE("tcp: a stream is used from other shards than its home, and can move its home", "[io][tcp]") {
  std::vector<std::string> got;
  roving::run({.shards = 3}, [&] {
    connection both = connect_pair();
    for (unsigned i = 0; i < 6; ++i) {
      const bool rehomes = i >= 3;
      auto reader = roving::spawn(roving::on_shard(i % 3), [&, rehomes] {
        if (rehomes) both.server.rehome();
        std::string block(3, ' ');
        both.server.read_exactly(block);
        return block;
      });
      roving::yield();
      both.client.write_all("abc");
      got.push_back(std::move(reader).get());
    }
  });
  CHECK(got == std::vector<std::string>(6, "abc"));
}

TEST_CASE("tcp: off every shard a listener and a connect are refused", "[io][tcp]") {
  CHECK_THROWS_AS(tcp_listener{loopback}, roving::no_shard);
  CHECK_THROWS_AS(tcp_stream::connect(loopback), roving::no_shard);
}

TEST_CASE("tcp: a thousand connections at once", "[io][tcp][stress]") {
  const unsigned shards = GENERATE(1u, 4u);
  constexpr int connections = 1000;
  int answered = 0;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener{loopback};
    auto server = roving::spawn([&] {
      for (int i = 0; i < connections; ++i)
        roving::spawn(roving::anywhere, [stream = listener.accept()]() mutable {
          std::array<char, 8> block;
          stream.read_exactly(block);
          stream.write_all(block.data());
        }).detach();
    });
    std::vector<roving::task<bool>> clients;
    for (int i = 0; i < connections; ++i)
      clients.push_back(roving::spawn(roving::anywhere, [to = listener.local_endpoint()] {
        tcp_stream stream = tcp_stream::connect(to);
        stream.write_all("1234567");
        stream.write_all(roving::const_buffer{"", 1});
        std::array<char, 7> block;
        stream.read_exactly(block);
        return std::memcmp(block.data(), "1234567", block.size()) == 0;
      }));
    for (auto& each : clients) answered += std::move(each).get() ? 1 : 0;
    server.get();
  });
  CHECK(answered == connections);
}
