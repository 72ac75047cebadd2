// Tested: roving::serve, on loopback. Tasks write down what they saw; the test's own thread checks it after run().
#include <roving/serve.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using roving::serve_options;
using roving::tcp_listener;
using roving::tcp_stream;

const roving::endpoint loopback{"127.0.0.1", 0};

// A way to accept.
struct way {
  roving::accepting accept;
  bool shares_port;
};

constexpr way here{roving::accepting::calling_shard, false};
constexpr way hands_over{roving::every_shard, false};
constexpr way has_siblings{roving::every_shard, true};

tcp_listener listener_for(way how) {
  roving::listen_options options;
  options.reuse_port = how.shares_port;
  return tcp_listener{loopback, options};
}

void echo(tcp_stream& stream) {
  std::array<char, 1000> block;
  while (const std::size_t bytes = stream.read_some(block)) stream.write_all(roving::const_buffer{block.data(), bytes});
}

// What comes back, until the end of the stream or an error.
std::string ask(const roving::endpoint& where, const std::string& message) {
  tcp_stream stream = tcp_stream::connect(where);
  stream.write_all(message);
  stream.shutdown(roving::direction::write);
  std::string all;
  std::array<char, 1000> block;
  std::error_code error;
  while (const std::size_t bytes = stream.read_some(block, error)) all.append(block.data(), bytes);
  return all;
}

// Lets others run until it is so.
template <class Condition>
void yield_until(Condition holds) {
  while (!holds()) roving::yield();
}

// No descriptor can be had while one lives, or until it is lifted.
class no_descriptors {
 public:
  no_descriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  no_descriptors(const no_descriptors&) = delete;
  no_descriptors& operator=(const no_descriptors&) = delete;
  ~no_descriptors() { lift(); }
  void lift() const { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

// A client whose socket is there before descriptors run out.
class plain_client {
 public:
  plain_client() : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {}
  plain_client(const plain_client&) = delete;
  plain_client& operator=(const plain_client&) = delete;
  ~plain_client() { ::close(fd_); }

  void connect_and_send(const roving::endpoint& where, const std::string& message) const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(where.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::send(fd_, message.data(), message.size(), MSG_NOSIGNAL) < 0 || ::shutdown(fd_, SHUT_WR) != 0)
      throw std::system_error{errno, std::generic_category(), "plain_client"};
  }

  [[nodiscard]] std::string receive() const {
    std::string all;
    std::array<char, 100> block;
    for (;;) {
      roving::wait_readable(fd_);
      const ssize_t bytes = ::recv(fd_, block.data(), block.size(), 0);
      if (bytes <= 0) return all;
      all.append(block.data(), static_cast<std::size_t>(bytes));
    }
  }

 private:
  int fd_;
};

}  // namespace

TEST_CASE("serve: every connection is answered, wherever it is accepted and handled", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const way how = GENERATE(here, hands_over, has_siblings);
  const roving::placement handlers = GENERATE(roving::placement{}, roving::pinned, roving::anywhere);
  constexpr int clients = 40;
  std::vector<std::string> answers;
  std::atomic<int> handled{0};
  bool was_cancelled = false;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener = listener_for(how);
    const auto server = roving::spawn([&] {
      serve_options options;
      options.accept = how.accept;
      options.handlers = handlers;
      roving::serve(listener, options, [&](tcp_stream stream) {
        echo(stream);
        ++handled;
      });
    });
    std::vector<roving::task<std::string>> asking;
    for (int i = 0; i < clients; ++i)
      asking.push_back(roving::spawn(
          roving::anywhere, [i, to = listener.local_endpoint()] { return ask(to, "client " + std::to_string(i)); }));
    for (auto& each : asking) answers.push_back(std::move(each).get());
    server.cancel();
    server.join();
    was_cancelled = server.cancelled();
  });
  for (int i = 0; i < clients; ++i) CHECK(answers[static_cast<std::size_t>(i)] == "client " + std::to_string(i));
  CHECK(handled == clients);
  CHECK(was_cancelled);
}

TEST_CASE("serve: handlers are placed as the caller is unless told", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const bool caller_roves = GENERATE(false, true);
  const bool told = GENERATE(false, true);
  std::atomic<int> roving_handlers{0};
  std::atomic<int> elsewhere{0};
  roving::run({.shards = shards}, [&] {
    const unsigned last = shards - 1;
    tcp_listener listener{loopback};
    const auto server = roving::spawn(caller_roves ? roving::anywhere : roving::on_shard(last), [&] {
      serve_options options;
      if (told) options.handlers = caller_roves ? roving::on_shard(last) : roving::anywhere;
      roving::serve(listener, options, [&](tcp_stream stream) {
        if (roving::this_task::is_roving())
          ++roving_handlers;
        else if (roving::this_task::shard() != last)
          ++elsewhere;
        echo(stream);
      });
    });
    for (int i = 0; i < 8; ++i) (void)ask(listener.local_endpoint(), "x");
  });
  CHECK(roving_handlers == (caller_roves != told ? 8 : 0));
  CHECK(elsewhere == 0);
}

TEST_CASE("serve: one socket for every shard hands connections to the shard with the fewest", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  std::vector<std::atomic<int>> on(shards);
  roving::run({.shards = shards}, [&] {
    tcp_listener listener = listener_for(hands_over);
    std::atomic<unsigned> there{0};
    roving::event all_there;
    const auto server = roving::spawn([&] {
      serve_options options;
      options.accept = roving::every_shard;
      roving::serve(listener, options, [&](const tcp_stream& stream) {
        ++on[roving::this_task::shard()];
        if (++there == 5 * shards) all_there.set();
        roving::wait_readable(stream.native_handle());  // until the client goes
      });
    });
    std::vector<tcp_stream> clients;
    for (unsigned i = 0; i < 5 * shards; ++i) clients.push_back(tcp_stream::connect(listener.local_endpoint()));
    all_there.wait();
  });
  for (const std::atomic<int>& count : on) CHECK(count == 5);
}

TEST_CASE("serve: with a shared port every shard accepts, and keeps what it accepted", "[runtime][serve]") {
  const unsigned shards = GENERATE(2u, 4u);
  std::vector<std::atomic<int>> on(shards);
  std::atomic<bool> any_roved{false};
  roving::run({.shards = shards}, [&] {
    tcp_listener listener = listener_for(has_siblings);
    const auto server = roving::spawn([&] {
      serve_options options;
      options.accept = roving::every_shard;
      roving::serve(listener, options, [&](tcp_stream stream) {
        if (roving::this_task::is_roving()) any_roved = true;
        ++on[roving::this_task::shard()];
        echo(stream);
      });
    });
    // The kernel spreads by a hash over ports that it draws: sooner or later all have had one.
    yield_until([&] {
      (void)ask(listener.local_endpoint(), "x");
      return std::all_of(on.begin(), on.end(), [](const std::atomic<int>& count) { return count > 0; });
    });
  });
  CHECK_FALSE(any_roved);
}

TEST_CASE("serve: a cancel stops accepting and lets handlers end", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const way how = GENERATE(here, hands_over, has_siblings);
  bool ended_early = true;
  bool handler_was_cancelled = true;
  std::atomic<int> handled{0};
  bool was_cancelled = false;
  std::string message;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener = listener_for(how);
    roving::event go;
    std::atomic<int> begun{0};
    auto server = roving::spawn([&] {
      serve_options options;
      options.accept = how.accept;
      roving::serve(listener, options, [&](const tcp_stream&) {
        ++begun;
        try {
          go.wait();
          handler_was_cancelled = false;
        } catch (const roving::cancelled&) {
        }
        ++handled;
      });
    });
    const tcp_stream first = tcp_stream::connect(listener.local_endpoint());
    yield_until([&] { return begun == 1; });
    server.cancel("enough");
    // The kernel takes one more, and nobody else. (Tasks that accept on other shards have yet to hear of the end.)
    tcp_stream late;
    if (!how.shares_port) late = tcp_stream::connect(listener.local_endpoint());
    for (int i = 0; i < 1000; ++i) roving::yield();
    ended_early = server.done();
    go.set();
    server.join();
    was_cancelled = server.cancelled();
    try {
      std::move(server).get();
    } catch (const roving::cancelled& thrown) {
      message = thrown.message();
    }
  });
  CHECK_FALSE(ended_early);
  CHECK_FALSE(handler_was_cancelled);
  CHECK(handled == 1);
  CHECK(was_cancelled);
  CHECK(message == "enough");
}

TEST_CASE("serve: a second cancel cancels the handlers and waits for them", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const way how = GENERATE(here, hands_over, has_siblings);
  const bool at_once = GENERATE(false, true);
  constexpr int clients = 70;  // more than are cancelled at a time
  std::atomic<int> cancelled{0};
  int cancelled_at_the_end = 0;
  bool was_cancelled = false;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener = listener_for(how);
    std::atomic<int> begun{0};
    const auto server = roving::spawn([&] {
      serve_options options;
      options.accept = how.accept;
      options.handlers = roving::anywhere;
      roving::serve(listener, options, [&](const tcp_stream&) {
        ++begun;
        try {
          roving::sleep_for(1h);
        } catch (const roving::cancelled&) {
          {
            const roving::no_cancel cleaning_up;
            for (int i = 0; i < 10; ++i) roving::yield();
          }
          ++cancelled;
          throw;
        }
      });
    });
    std::vector<tcp_stream> streams;
    for (int i = 0; i < clients; ++i) streams.push_back(tcp_stream::connect(listener.local_endpoint()));
    yield_until([&] { return begun == clients; });
    server.cancel();
    for (int i = 0; i < (at_once ? 0 : 100); ++i) roving::yield();
    server.cancel();
    server.join();
    cancelled_at_the_end = cancelled;
    was_cancelled = server.cancelled();
  });
  CHECK(cancelled_at_the_end == clients);
  CHECK(was_cancelled);
}

TEST_CASE("serve: handlers that outlast the grace are cancelled", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u);
  const bool caller_roves = GENERATE(false, true);
  std::atomic<bool> handler_was_cancelled{false};
  bool was_cancelled = false;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener{loopback};
    std::atomic<bool> begun{false};
    const auto server = roving::spawn(caller_roves ? roving::anywhere : roving::here, [&] {
      serve_options options;
      options.grace = 1ms;
      roving::serve(listener, options, [&](const tcp_stream&) {
        begun = true;
        try {
          roving::sleep_for(1h);
        } catch (const roving::cancelled&) {
          handler_was_cancelled = true;
        }
      });
    });
    const tcp_stream client = tcp_stream::connect(listener.local_endpoint());
    yield_until([&] { return begun.load(); });
    server.cancel();
    server.join();
    was_cancelled = server.cancelled();
  });
  CHECK(handler_was_cancelled);
  CHECK(was_cancelled);
}

TEST_CASE("serve: closing the listener ends it, with handlers that run on to their end", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const way how = GENERATE(here, hands_over, has_siblings);
  std::string answer;
  bool threw = true;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener = listener_for(how);
    const roving::endpoint where = listener.local_endpoint();
    std::atomic<bool> begun{false};
    auto server = roving::spawn([&] {
      serve_options options;
      options.accept = how.accept;
      roving::serve(listener, options, [&](tcp_stream stream) {
        begun = true;
        echo(stream);
      });
    });
    tcp_stream client = tcp_stream::connect(where);
    yield_until([&] { return begun.load(); });
    listener.close();
    for (int i = 0; i < 100; ++i) roving::yield();
    client.write_all("still there");
    client.shutdown(roving::direction::write);
    std::array<char, 100> block;
    while (const std::size_t bytes = client.read_some(block)) answer.append(block.data(), bytes);
    server.join();
    threw = server.exception() != nullptr;
  });
  CHECK(answer == "still there");
  CHECK_FALSE(threw);
}

TEST_CASE("serve: what a handler throws ends its connection and is told to on_error", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u);
  const bool has_hook = GENERATE(false, true);
  std::mutex lock;
  std::vector<std::string> told;
  std::vector<std::string> unhandled;
  const auto note = [&](std::vector<std::string>& where, const std::exception_ptr& error) {
    const std::lock_guard guard{lock};
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& thrown) {
      where.emplace_back(thrown.what());
    }
  };
  std::string bad = "unset";
  std::string good;
  roving::options chosen;
  chosen.shards = shards;
  chosen.on_unhandled = [&](const roving::unhandled& what) { note(unhandled, what.error); };
  roving::run(chosen, [&] {
    tcp_listener listener{loopback};
    const auto server = roving::spawn([&] {
      serve_options options;
      options.handlers = roving::anywhere;
      if (has_hook) options.on_error = [&](const std::exception_ptr& error) { note(told, error); };
      roving::serve(listener, options, [](tcp_stream stream) {
        std::array<char, 3> word;
        stream.read_exactly(word);
        if (word[0] == 'b') throw std::runtime_error{"a bad word"};
        echo(stream);
      });
    });
    bad = ask(listener.local_endpoint(), "bad");
    good = ask(listener.local_endpoint(), "gooood");
  });
  CHECK(bad.empty());
  CHECK(good == "ood");
  CHECK(told == (has_hook ? std::vector<std::string>{"a bad word"} : std::vector<std::string>{}));
  CHECK(unhandled == (has_hook ? std::vector<std::string>{} : std::vector<std::string>{"a bad word"}));
}

TEST_CASE("serve: no more handlers run at a time than were allowed, and all have their turn", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const way how = GENERATE(here, hands_over, has_siblings);
  constexpr int clients = 30;
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::vector<std::string> answers;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener = listener_for(how);
    const auto server = roving::spawn([&] {
      serve_options options;
      options.accept = how.accept;
      options.handlers = roving::anywhere;
      options.max_connections = 3;
      roving::serve(listener, options, [&](tcp_stream stream) {
        const int now = ++running;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        for (int i = 0; i < 20; ++i) roving::yield();
        echo(stream);
        --running;
      });
    });
    std::vector<roving::task<std::string>> asking;
    for (int i = 0; i < clients; ++i)
      asking.push_back(roving::spawn(roving::anywhere, [to = listener.local_endpoint()] { return ask(to, "x"); }));
    for (auto& each : asking) answers.push_back(std::move(each).get());
  });
  CHECK(answers == std::vector<std::string>(clients, "x"));
  CHECK(most <= 3);
  CHECK(most >= 1);
}

TEST_CASE("serve: a cancel ends the wait for room", "[runtime][serve]") {
  const way how = GENERATE(here, hands_over, has_siblings);
  bool was_cancelled = false;
  roving::run({.shards = 2}, [&] {
    tcp_listener listener = listener_for(how);
    roving::event go;
    std::atomic<int> begun{0};
    const auto server = roving::spawn([&] {
      serve_options options;
      options.accept = how.accept;
      options.max_connections = 1;
      roving::serve(listener, options, [&](const tcp_stream&) {
        ++begun;
        go.wait();
      });
    });
    std::vector<tcp_stream> clients;
    for (int i = 0; i < 8; ++i) clients.push_back(tcp_stream::connect(listener.local_endpoint()));
    yield_until([&] { return begun == 1; });
    for (int i = 0; i < 1000; ++i) roving::yield();
    server.cancel();
    go.set();
    server.join();
    was_cancelled = server.cancelled();
  });
  CHECK(was_cancelled);
}

TEST_CASE("serve: without descriptors it tries again, says so, and goes on", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u);
  const way how = GENERATE(here, hands_over, has_siblings);
  const bool has_hook = GENERATE(false, true);
  // UBSan wants a descriptor when it first sees an object of a class; this one it shall know before there are none.
  static_cast<void>(
      std::make_exception_ptr(std::system_error{std::make_error_code(std::errc::too_many_files_open), ""}));
  std::mutex lock;
  std::vector<std::error_code> told;
  std::vector<std::exception_ptr> unhandled;
  std::atomic<int> reports{0};
  std::vector<std::string> answers;
  roving::options chosen;
  chosen.shards = shards;
  chosen.on_unhandled = [&](const roving::unhandled& what) {
    const std::lock_guard guard{lock};
    unhandled.push_back(what.error);
    ++reports;
  };
  roving::run(chosen, [&] {
    tcp_listener listener = listener_for(how);
    serve_options options;
    options.accept = how.accept;
    options.retry_after = 1ms;
    if (has_hook) {
      options.on_accept_error = [&](const std::error_code& error) {
        const std::lock_guard guard{lock};
        told.push_back(error);
        ++reports;
      };
    }
    const auto server =
        roving::spawn([&] { roving::serve(listener, options, [](tcp_stream stream) { echo(stream); }); });
    answers.push_back(ask(listener.local_endpoint(), "before"));
    std::vector<plain_client> clients(5);
    const no_descriptors limit;
    for (const plain_client& each : clients) each.connect_and_send(listener.local_endpoint(), "meanwhile");
    yield_until([&] { return reports >= 2; });
    limit.lift();
    for (const plain_client& each : clients) answers.push_back(each.receive());
    server.cancel();
    server.join();
  });
  CHECK(answers == std::vector<std::string>{"before", "meanwhile", "meanwhile", "meanwhile", "meanwhile", "meanwhile"});
  CHECK((has_hook ? unhandled.size() : told.size()) == 0);
  CHECK((has_hook ? told.size() : unhandled.size()) >= 2);
  for (const std::exception_ptr& each : unhandled) {
    try {
      std::rethrow_exception(each);
    } catch (const std::system_error& error) {
      told.push_back(error.code());
    }
  }
  for (const std::error_code& each : told) CHECK(each == std::errc::too_many_files_open);
}

TEST_CASE("serve: connections that died before they were accepted harm nobody", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u);
  std::atomic<int> failed{0};
  std::string answer;
  roving::run({.shards = shards}, [&] {
    tcp_listener listener{loopback};
    for (int i = 0; i < 5; ++i) {
      tcp_stream dead = tcp_stream::connect(listener.local_endpoint());
      dead.set_linger(0s);  // close() resets it
    }
    const auto server = roving::spawn([&] {
      serve_options options;
      options.on_error = [&](const std::exception_ptr&) { ++failed; };
      roving::serve(listener, options, [](tcp_stream stream) { echo(stream); });
    });
    answer = ask(listener.local_endpoint(), "alive");
    server.cancel();
    server.join();
  });
  CHECK(answer == "alive");
  CHECK(failed <= 5);
}

TEST_CASE("serve: when main returns, servers and handlers are cancelled and nothing is left", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const way how = GENERATE(here, hands_over, has_siblings);
  std::atomic<int> begun{0};
  std::atomic<int> cancelled{0};
  for (int round = 0; round < 10; ++round) {
    roving::run({.shards = shards}, [&] {
      begun = 0;
      auto listener = std::make_shared<tcp_listener>(listener_for(how));
      roving::spawn([listener, how, &begun, &cancelled] {
        serve_options options;
        options.accept = how.accept;
        options.handlers = roving::anywhere;
        roving::serve(*listener, options, [&](const tcp_stream&) {
          ++begun;
          try {
            roving::sleep_for(1h);
          } catch (const roving::cancelled&) {
            ++cancelled;
            throw;
          }
        });
      }).detach();
      std::vector<tcp_stream> clients;
      for (int i = 0; i < 5; ++i) clients.push_back(tcp_stream::connect(listener->local_endpoint()));
      yield_until([&] { return begun == 5; });
    });
  }
  CHECK(cancelled == 50);
}

TEST_CASE("serve: what can't work is refused at once", "[runtime][serve]") {
  bool closed_refused = false;
  bool plain_thread_refused = false;
  const auto nothing = [](const tcp_stream&) {};
  tcp_listener kept;
  roving::run({.shards = 1}, [&] {
    tcp_listener closed{loopback};
    closed.close();
    try {
      roving::serve(closed, nothing);
    } catch (const std::system_error& error) {
      closed_refused = error.code() == std::errc::bad_file_descriptor;
    }
    kept = tcp_listener{loopback};
  });
  try {
    roving::serve(kept, nothing);
  } catch (const roving::broken_contract&) {
    plain_thread_refused = true;
  }
  CHECK(closed_refused);
  CHECK(plain_thread_refused);
}

TEST_CASE("serve: clients and cancels at random moments", "[runtime][serve]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const way how = GENERATE(here, hands_over, has_siblings);
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::minstd_rand draw{seed};
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  int not_cancelled = 0;
  for (int round = 0; round < 10; ++round) {
    const auto yields = draw() % 2000;
    const auto more_yields = draw() % 100;
    const bool rove = draw() % 2 == 0;
    roving::run({.shards = shards, .on_unhandled = [](const roving::unhandled&) {}}, [&] {
      tcp_listener listener = listener_for(how);
      const auto server = roving::spawn(rove ? roving::anywhere : roving::here, [&] {
        serve_options options;
        options.accept = how.accept;
        options.max_connections = 20;
        roving::serve(listener, options, [&](tcp_stream stream) {
          ++begun;
          struct ending {
            std::atomic<int>& count;
            ~ending() { ++count; }
          } const end{ended};
          echo(stream);
        });
      });
      std::vector<roving::task<void>> clients;
      for (int i = 0; i < 30; ++i)
        clients.push_back(roving::spawn(roving::anywhere, [to = listener.local_endpoint(), i] {
          try {
            tcp_stream stream = tcp_stream::connect(to);
            stream.write_all("x");
            if (i % 3 == 0) return;
            std::array<char, 1> back;
            stream.read_exactly(back);
          } catch (const std::system_error&) {  // the server went
          }
        }));
      for (auto left = yields; left > 0; --left) roving::yield();
      server.cancel();
      for (auto left = more_yields; left > 0; --left) roving::yield();
      for (const auto& each : clients) each.cancel();
      server.cancel();
      server.join();
      not_cancelled += server.cancelled() ? 0 : 1;
    });
  }
  CHECK(not_cancelled == 0);
  CHECK(begun == ended);
}
