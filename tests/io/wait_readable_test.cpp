// Tested: waiting for descriptors of others: nobody drains them, and they are told of again.

#include <roving/wait_readable.hpp>

#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <roving/error.hpp>
#include <roving/run.hpp>
#include <roving/sleep.hpp>
#include <roving/spawn.hpp>

#include "tests/support/catch.hpp"

namespace {

struct open_pipe {
  open_pipe() { REQUIRE(::pipe(ends) == 0); }
  open_pipe(const open_pipe&) = delete;
  open_pipe& operator=(const open_pipe&) = delete;
  ~open_pipe() {
    for (const int end : ends)
      if (end >= 0) ::close(end);
  }
  void close_writer() {
    ::close(ends[1]);
    ends[1] = -1;
  }
  int ends[2];
};

char read_one(int fd) {
  char byte = '?';
  return ::read(fd, &byte, 1) == 1 ? byte : '?';
}

}  // namespace

TEST_CASE("wait_readable: it waits until somebody has written", "[io]") {
  const unsigned shards = GENERATE(1u, 2u);
  const auto where = GENERATE(roving::here, roving::anywhere);
  open_pipe pipe;
  std::string seen;
  roving::run({.shards = shards}, [&] {
    auto reader = roving::spawn(where, [&] {
      for (int i = 0; i < 50; ++i) {
        roving::wait_readable(pipe.ends[0]);
        seen += read_one(pipe.ends[0]);
      }
    });
    for (int i = 0; i < 50; ++i) {
      if (i % 2 == 0) roving::yield();
      if (::write(pipe.ends[1], "x", 1) != 1) return;
    }
    reader.get();
  });
  CHECK(seen == std::string(50, 'x'));
}

TEST_CASE("wait_readable: what nobody read is told of again", "[io]") {
  open_pipe pipe;
  int told = 0;
  roving::run({.shards = 1}, [&] {
    if (::write(pipe.ends[1], "x", 1) != 1) return;
    for (; told < 5; ++told) roving::wait_readable(pipe.ends[0]);
  });
  CHECK(told == 5);
}

TEST_CASE("wait_readable: a closed other end ends the wait", "[io]") {
  open_pipe pipe;
  bool ended = false;
  roving::run({.shards = 1}, [&] {
    auto reader = roving::spawn([&] { roving::wait_readable(pipe.ends[0]); });
    roving::yield();
    pipe.close_writer();
    reader.get();
    ended = true;
  });
  CHECK(ended);
}

TEST_CASE("wait_writable: it waits until there is room", "[io]") {
  open_pipe pipe;
  bool waited = false;
  bool had_room = false;
  roving::run({.shards = 1}, [&] {
    if (::fcntl(pipe.ends[1], F_SETFL, O_NONBLOCK) != 0) return;
    const std::vector<char> block(4096);
    while (::write(pipe.ends[1], block.data(), block.size()) > 0) {
    }
    auto writer = roving::spawn([&] {
      roving::wait_writable(pipe.ends[1]);
      had_room = ::write(pipe.ends[1], block.data(), block.size()) > 0;
    });
    for (int i = 0; i < 10; ++i) roving::yield();
    waited = !writer.done();
    std::vector<char> all(1U << 20U);
    if (::read(pipe.ends[0], all.data(), all.size()) <= 0) return;
    writer.get();
  });
  CHECK(waited);
  CHECK(had_room);
}

TEST_CASE("wait_readable: both directions of one descriptor, and two readers, at once", "[io]") {
  int ended = 0;
  bool refused = false;
  roving::run({.shards = 1}, [&] {
    int both[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, both) != 0) return;
    std::vector<roving::task<void>> waiting;
    for (int i = 0; i < 2; ++i)
      waiting.push_back(roving::spawn([&] {
        roving::wait_readable(both[0]);
        ++ended;
      }));
    waiting.push_back(roving::spawn([&] {
      roving::wait_writable(both[0]);
      ++ended;
    }));
    waiting.back().get();
    refused = ended != 1;
    if (::write(both[1], "x", 1) != 1) return;
    for (auto& each : waiting) each.join();
    ::close(both[0]);
    ::close(both[1]);
  });
  CHECK_FALSE(refused);
  CHECK(ended == 3);
}

TEST_CASE("wait_readable: a cancel ends it, and the descriptor can be waited for again", "[io]") {
  open_pipe pipe;
  bool cancelled = false;
  char seen = '?';
  roving::run({.shards = 1}, [&] {
    auto reader = roving::spawn([&] { roving::wait_readable(pipe.ends[0]); });
    roving::yield();
    reader.cancel();
    reader.join();
    cancelled = reader.cancelled();
    if (::write(pipe.ends[1], "y", 1) != 1) return;
    roving::wait_readable(pipe.ends[0]);
    seen = read_one(pipe.ends[0]);
  });
  CHECK(cancelled);
  CHECK(seen == 'y');
}

TEST_CASE("wait_readable: a regular file is always ready, and no descriptor is an error", "[io]") {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), std::fclose};
  REQUIRE(file != nullptr);
  bool ready = false;
  std::error_code error;
  std::error_code thrown;
  roving::run({.shards = 1}, [&] {
    roving::wait_readable(::fileno(file.get()));
    roving::wait_writable(::fileno(file.get()));
    ready = true;
    roving::wait_readable(-1, error);
    try {
      roving::wait_writable(-1);
    } catch (const std::system_error& failure) {
      thrown = failure.code();
    }
  });
  CHECK(ready);
  CHECK(error == std::errc::bad_file_descriptor);
  CHECK(thrown == std::errc::bad_file_descriptor);
}

TEST_CASE("wait_readable: off every shard it is refused", "[io]") {
  open_pipe pipe;
  CHECK_THROWS_AS(roving::wait_readable(pipe.ends[0]), roving::no_shard);
}

TEST_CASE("wait_readable: a number that no descriptor has is an error, however large, and costs no memory", "[io]") {
  const auto peak_kib = [] {
    rusage used{};
    REQUIRE(::getrusage(RUSAGE_SELF, &used) == 0);
    return used.ru_maxrss;
  };
  std::error_code error;
  long before_kib = 0;
  roving::run({.shards = 1}, [&] {
    before_kib = peak_kib();
    try {
      roving::wait_readable(std::numeric_limits<int>::max());
    } catch (const std::system_error& thrown) {
      error = thrown.code();
    }
  });
  CHECK(error == std::errc::bad_file_descriptor);
  CHECK(peak_kib() - before_kib < 100'000);  // a table with a place for each number took gigabytes
}
