// Tested: roving::select with descriptors of others: what was not chosen is not watched any more.
#include <roving/select.hpp>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;
using namespace std::chrono_literals;
using roving::select;

namespace {

struct open_pipe {
  open_pipe() { REQUIRE(::pipe2(ends, O_NONBLOCK) == 0); }
  open_pipe(const open_pipe&) = delete;
  open_pipe& operator=(const open_pipe&) = delete;
  ~open_pipe() {
    for (const int end : ends)
      if (end >= 0) ::close(end);
  }
  void write() const { static_cast<void>(!::write(ends[1], "x", 1)); }
  [[nodiscard]] bool read() const {
    char byte = 0;
    return ::read(ends[0], &byte, 1) == 1;
  }
  void fill() const {
    const std::vector<char> block(4096);
    while (::write(ends[1], block.data(), block.size()) > 0) {
    }
  }
  int ends[2];
};

const auto ignore = [](auto&&...) {};

}  // namespace

TEST_CASE("select: a descriptor that is ready is done in the order of the arguments", "[io][select]") {
  open_pipe pipe;
  std::vector<int> done;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    const auto choose = [&] {
      done.push_back(select(roving::on_readable(pipe.ends[0], [] { return 0; }), line.on_get([](int) { return 1; }),
                            roving::on_writable(pipe.ends[1], [] { return 2; })));
    };
    choose();
    line.put(1);
    choose();
    line.put(1);
    pipe.write();
    choose();
    choose();  // nobody read
  });
  CHECK(done == std::vector<int>{2, 1, 0, 0});
}

TEST_CASE("select: it waits for a descriptor, an item or the time, whatever comes first", "[io][select]") {
  const place where = GENERATE(from_range(places()));
  const int comes = GENERATE(0, 1, 2, 3);
  open_pipe in;
  open_pipe out;
  out.fill();
  int chosen = -1;
  bool again = false;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> line;
    crew tasks{where};
    const auto time = comes == 3 ? roving::after(1ms) : roving::after(1h);
    tasks.spawn([&] {
      chosen = select(roving::on_readable(in.ends[0], [] { return 0; }), line.on_get([](int) { return 1; }),
                      roving::on_writable(out.ends[1], [] { return 2; }), time.on_expiry([] { return 3; }));
      // Neither is watched any more: each can be waited for as if it never had been.
      in.write();
      select(roving::on_readable(in.ends[0], [&] { again = true; }));
    });
    if (comes != 3) wait_until_parked(tasks[0]);
    if (comes == 0) in.write();
    if (comes == 1) line.put(1);
    if (comes == 2) {
      std::vector<char> all(1U << 20U);
      static_cast<void>(!::read(out.ends[0], all.data(), all.size()));
    }
    tasks.join();
  });
  CHECK(chosen == comes);
  CHECK(again);
}

TEST_CASE("select: both directions of a descriptor, and several who wait for it", "[io][select]") {
  int both[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both) == 0);
  int readable = 0;
  int writable = 0;
  roving::run({.shards = 1}, [&] {
    std::vector<roving::task<void>> waiting;
    const std::vector<char> block(4096);
    while (::write(both[0], block.data(), block.size()) > 0) {
    }
    for (int i = 0; i < 3; ++i)
      waiting.push_back(roving::spawn([&] {
        select(roving::on_readable(both[0], [&] { ++readable; }), roving::on_writable(both[0], [&] { ++writable; }));
      }));
    for (const auto& each : waiting) wait_until_parked(each);
    static_cast<void>(!::write(both[1], "x", 1));
    for (auto& each : waiting) each.join();
  });
  CHECK(readable == 3);
  CHECK(writable == 0);
  ::close(both[0]);
  ::close(both[1]);
}

TEST_CASE("select: a cancel ends the wait for a descriptor, which may be closed then", "[io][select]") {
  const place where = GENERATE(from_range(places()));
  bool was_cancelled = false;
  bool ended = false;
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    roving::event never;
    auto pipe = std::make_unique<open_pipe>();
    wait_until_parked(tasks.spawn([&] { select(roving::on_readable(pipe->ends[0], ignore), never.on_set(ignore)); }));
    tasks[0].cancel();
    tasks[0].join();
    was_cancelled = tasks[0].cancelled();
    pipe = nullptr;  // the number is free for the next
    pipe = std::make_unique<open_pipe>();
    wait_until_parked(
        tasks.spawn([&] { select(never.on_set(ignore), roving::on_readable(pipe->ends[0], [&] { ended = true; })); }));
    ::close(pipe->ends[1]);
    pipe->ends[1] = -1;
    tasks.join();
  });
  CHECK(was_cancelled);
  CHECK(ended);
}

TEST_CASE("select: a regular file is always ready, no descriptor is an error, and so is no shard", "[io][select]") {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), std::fclose};
  REQUIRE(file != nullptr);
  bool ready = false;
  std::error_code thrown;
  roving::run({.shards = 1}, [&] {
    select(roving::on_writable(::fileno(file.get()), [&] { ready = true; }), roving::otherwise(ignore));
    try {
      select(roving::on_readable(-1, ignore));
    } catch (const std::system_error& failure) {
      thrown = failure.code();
    }
  });
  CHECK(ready);
  CHECK(thrown == std::errc::bad_file_descriptor);
  CHECK_THROWS_AS(select(roving::on_readable(0, ignore)), roving::no_shard);
}

TEST_CASE("select: bytes of two pipes, between cancels, are all read", "[io][select][stress]") {
  const place where = GENERATE(from_range(places()));
  const int bytes = rounds(2000);
  open_pipe a;
  open_pipe b;
  std::atomic<int> read{0};
  roving::run({.shards = where.shards}, [&] {
    roving::event stop;
    crew readers{where};
    for (int i = 0; i < 3; ++i)
      readers.spawn([&] {
        for (bool over = false; !over;) {
          try {
            select(roving::on_readable(a.ends[0],
                                       [&] {
                                         if (a.read()) ++read;
                                       }),
                   roving::on_readable(b.ends[0],
                                       [&] {
                                         if (b.read()) ++read;
                                       }),
                   stop.on_set([&] { over = true; }));
          } catch (const roving::cancelled&) {
          }
        }
      });
    readers.wait_until_started();
    std::minstd_rand draw{5};
    for (int i = 0; i < bytes; ++i) {
      (draw() % 2 == 0 ? a : b).write();
      if (draw() % 4 == 0) readers[draw() % readers.size()].cancel();
      while (i - read > 100) roving::yield();
      if (draw() % 3 == 0) roving::yield();
    }
    while (read < bytes) roving::yield();
    stop.set();
    readers.join();
  });
  CHECK(read == bytes);
}
