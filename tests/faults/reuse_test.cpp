// Tested: a descriptor is closed while somebody waits for it, and its number is in use again at once. Who waited gets
// operation_canceled; who has the number now is not disturbed by what was under way for the former.
#include <array>
#include <atomic>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/faults/faults.hpp"
#include "tests/faults/seams.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using test::world;

namespace {

struct connection {
  roving::tcp_stream ours;
  roving::tcp_stream theirs;
};

connection connect(roving::tcp_listener& listener) {
  connection made;
  auto accepting = roving::spawn(roving::here, [&] { made.theirs = listener.accept(); });
  made.ours = roving::tcp_stream::connect(listener.local_endpoint());
  accepting.get();
  return made;
}

}  // namespace

TEST_CASE("faults: a stream that is closed under a reader and a writer, its number used again at once",
          "[faults][reuse]") {
  const test::bounded bound{30};
  const unsigned shards = GENERATE(1U, 2U);
  constexpr int rounds = 60;
  int cancelled_reads = 0;
  int cancelled_writes = 0;
  int same_number = 0;
  int right = 0;
  const std::size_t descriptors = test::open_descriptors();
  roving::run(test::quiet({shards, false}), [&] {
    roving::tcp_listener listener{{"127.0.0.1", 0}};
    for (int round = 0; round < rounds; ++round) {
      connection old = connect(listener);
      old.ours.set_send_buffer_size(4096);
      const auto was_cancelled = [](auto&& call) {
        std::error_code error;
        call(error);
        return error == std::errc::operation_canceled ? 1 : 0;
      };
      auto reader = roving::spawn([&] {
        std::array<char, 16> bytes{};
        return was_cancelled([&](std::error_code& error) {
          (void)old.ours.read_some({bytes.data(), bytes.size()}, error);
        });
      });
      auto writer = roving::spawn([&] {
        const std::string much(8'000'000, 'x');
        return was_cancelled(
            [&](std::error_code& error) { (void)old.ours.write_all(roving::const_buffer{much}, error); });
      });
      for (int i = 0; i < 3; ++i) roving::yield();
      const int number = old.ours.native_handle();
      // Events for the old one are on the way: data and an end to read, room to write.
      if (round % 2 == 0) old.theirs.write_all({"old", 3});
      if (round % 3 == 0) old.theirs.close();
      old.ours.close();
      const int fresh = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);  // takes the number that is free
      ::close(fresh);
      same_number += fresh == number;
      connection next = connect(listener);
      cancelled_reads += reader.get();
      cancelled_writes += writer.get();
      // An event of the old one would end this wait too early, and be harmless, or be taken for the end.
      auto waits = roving::spawn([&] {
        std::array<char, 3> bytes{};
        next.ours.read_exactly({bytes.data(), bytes.size()});
        return std::string{bytes.data(), bytes.size()};
      });
      for (int i = 0; i < 3; ++i) roving::yield();
      next.theirs.write_all({"new", 3});
      right += waits.get() == "new";
    }
  });
  CHECK(cancelled_reads == rounds);
  CHECK(cancelled_writes == rounds);
  CHECK(same_number > rounds / 2);
  CHECK(right == rounds);
  CHECK(test::open_descriptors() == descriptors);
}

TEST_CASE("faults: a listener that is closed under accept, its number used again at once", "[faults][reuse]") {
  const test::bounded bound{30};
  const unsigned shards = GENERATE(1U, 2U);
  constexpr int rounds = 40;
  int cancelled = 0;
  int right = 0;
  const std::size_t descriptors = test::open_descriptors();
  roving::run(test::quiet({shards, false}), [&] {
    for (int round = 0; round < rounds; ++round) {
      roving::tcp_listener listener{{"127.0.0.1", 0}};
      auto accepting = roving::spawn([&] {
        std::error_code error;
        (void)listener.accept(error);
        return error == std::errc::operation_canceled;
      });
      roving::yield();
      const int number = listener.native_handle();
      listener.close();
      roving::tcp_listener next{{"127.0.0.1", 0}};
      if (next.native_handle() != number) continue;
      auto client = roving::spawn([&] { (void)roving::tcp_stream::connect(next.local_endpoint()); });
      right += next.accept().is_open();
      client.get();
      cancelled += accepting.get();
    }
  });
  CHECK(cancelled == rounds);
  CHECK(right == rounds);
  CHECK(test::open_descriptors() == descriptors);
}

// Libraries close behind our back: the kernel forgets the registration with the last descriptor of a file.
TEST_CASE("faults: a foreign descriptor is closed under wait_readable, its number used again at once",
          "[faults][reuse]") {
  const test::bounded bound{30};
  const world where = GENERATE(world{1, false}, world{2, false});
  constexpr int rounds = 40;
  int disturbed = 0;
  int cancelled = 0;
  const std::size_t descriptors = test::open_descriptors();
  roving::runtime runtime{test::quiet(where)};
  test::run_in(runtime, where, [&] {
    for (int round = 0; round < rounds; ++round) {
      std::array<int, 2> old{};
      if (::pipe2(old.data(), O_CLOEXEC | O_NONBLOCK) != 0) return;
      auto waits = roving::spawn([fd = old[0]] { roving::wait_readable(fd); });
      for (int i = 0; i < 3; ++i) roving::yield();
      ::close(old[0]);
      ::close(old[1]);
      std::array<int, 2> next{};
      if (::pipe2(next.data(), O_CLOEXEC | O_NONBLOCK) != 0) return;
      std::atomic<bool> is_there{false};
      auto fresh = roving::spawn([&, fd = next[0]] {
        roving::wait_readable(fd);
        if (!is_there) ++disturbed;
      });
      for (int i = 0; i < 3; ++i) roving::yield();
      waits.cancel();  // nothing tells it: the wait ends by a cancel or a timeout
      waits.join();
      cancelled += waits.cancelled();
      is_there = true;
      char byte = 'x';
      if (::write(next[1], &byte, 1) != 1) return;
      fresh.get();
      for (const int each : next) ::close(each);
    }
  });
  runtime.close();
  CHECK(disturbed == 0);
  CHECK(cancelled == rounds);
  CHECK(test::open_descriptors() + 2 + where.shards * 2 >= descriptors);
}
