// Tested: the poller, by the contract that every back-end has to keep (io/poller.hpp). Nothing here names one.
//
// Tasks have no part in it: who waits is a plain thread, for which park() blocks. The test's own thread is the owner
// of the poller. A thread is known to wait once its descriptor says so, which is after it let go of the lock.

#include "io/poller.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <roving/error.hpp>

#include "tests/support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using roving::detail::descriptor;
using roving::detail::interest;
using roving::detail::io_direction;
using roving::detail::io_wait_end;
using roving::detail::make_poller;
using roving::detail::poller;
using roving::detail::poller_options;
using roving::detail::ready_list;
using roving::detail::real_system_calls;
using roving::detail::registration;

// Long enough that a test which needs it has failed.
constexpr auto for_ever = 60s;

class fd_guard {
 public:
  explicit fd_guard(int fd) noexcept : fd_{fd} {}
  fd_guard(fd_guard&& from) noexcept : fd_{std::exchange(from.fd_, -1)} {}
  fd_guard& operator=(fd_guard&&) = delete;
  ~fd_guard() { reset(); }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Two connected sockets that don't block.
struct socket_pair {
  socket_pair() {
    int both[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, both) == 0);
    for (const int fd : both) {
      REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
      REQUIRE(::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
    }
    here = fd_guard{both[0]}.release();
    there = fd_guard{both[1]}.release();
  }
  socket_pair(const socket_pair&) = delete;
  socket_pair& operator=(const socket_pair&) = delete;
  ~socket_pair() {
    if (here >= 0) ::close(here);
    if (there >= 0) ::close(there);
  }
  int here = -1;
  int there = -1;
};

void write_one(int fd) { REQUIRE(::send(fd, "x", 1, 0) == 1); }

void fill(int fd) {
  const std::vector<char> block(4096);
  while (::send(fd, block.data(), block.size(), 0) > 0) {
  }
}

void drain(int fd) {
  std::vector<char> block(65536);
  while (::recv(fd, block.data(), block.size(), 0) > 0) {
  }
}

// A poller, and what its owner does with it.
struct owner {
  explicit owner(const poller_options& options = {}) : queue{make_poller(real_system_calls(), options)} {}

  registration add(int fd, interest what = interest::edges) {
    std::error_code error;
    const registration added = queue->enroll(fd, what, error);
    REQUIRE(!error);
    return added;
  }

  // Asks once for what is there, and sends it on.
  void poll() {
    ready_list ready;
    queue->poll(ready);
    make_ready(ready);
  }

  // Asks until it is so. In short waits, since what makes it so need not be an event.
  template <class Condition>
  void wait_until(Condition holds) {
    const auto end = roving::now() + for_ever;
    while (!holds()) {
      REQUIRE(roving::now() < end);
      ready_list ready;
      queue->wait(roving::now() + 100us, ready);
      make_ready(ready);
    }
  }

  // What add() itself said, such as that a fresh socket can be written, is taken out of the way.
  void forget_edges(registration of) {
    poll();
    for (const io_direction each : {io_direction::read, io_direction::write})
      if (of.state->has_edge(each)) static_cast<void>(of.state->wait(each, of.generation, false, "test"));
  }

  std::unique_ptr<poller> queue;
};

// A thread that waits. Made: it does.
class waiting {
 public:
  waiting(registration on, io_direction direction)
      : thread_{[this, on, direction] {
          end_ = on.state->wait(direction, on.generation, false, "test");
          is_back_ = true;
        }} {
    while (!on.state->is_waited_for(direction)) std::this_thread::yield();
  }
  waiting(const waiting&) = delete;
  waiting& operator=(const waiting&) = delete;
  ~waiting() {
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] bool is_back() const noexcept { return is_back_; }
  io_wait_end end() {
    thread_.join();
    return *end_;
  }

 private:
  std::optional<io_wait_end> end_;
  std::atomic<bool> is_back_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("poller: an edge that comes before anybody waits is kept for the next wait", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  write_one(sockets.there);
  own.poll();
  CHECK(here.state->has_edge(io_direction::read));
  CHECK(here.state->wait(io_direction::read, here.generation, false, "test") == io_wait_end::ready);
  CHECK_FALSE(here.state->has_edge(io_direction::read));
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: what is so when a descriptor is added is its first event", "[io][poller]") {
  owner own;
  socket_pair sockets;
  write_one(sockets.there);
  const registration here = own.add(sockets.here);
  own.poll();
  CHECK(here.state->has_edge(io_direction::read));
  CHECK(here.state->has_edge(io_direction::write));
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: an event wakes who waits, and leaves no edge", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  waiting reader{here, io_direction::read};
  write_one(sockets.there);
  own.wait_until([&] { return reader.is_back(); });
  CHECK(reader.end() == io_wait_end::ready);
  CHECK_FALSE(here.state->has_edge(io_direction::read));
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: an edge comes once, and again when more has come", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  write_one(sockets.there);
  own.forget_edges(here);
  own.poll();
  CHECK_FALSE(here.state->has_edge(io_direction::read));  // still readable, and said already
  write_one(sockets.there);
  own.poll();
  CHECK(here.state->has_edge(io_direction::read));
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: both directions are waited for at once, and the reader goes first", "[io][poller]") {
  owner own;
  socket_pair sockets;
  fill(sockets.here);
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  waiting reader{here, io_direction::read};
  waiting writer{here, io_direction::write};
  drain(sockets.there);
  write_one(sockets.there);

  // Both changes are there before the kernel is asked, which may tell of them in one event or in two.
  ready_list ready;
  own.queue->wait(roving::now() + for_ever, ready);
  roving::detail::ready_node* const first = ready.pop();
  REQUIRE(first != nullptr);
  make_ready(*first);
  CHECK(reader.end() == io_wait_end::ready);
  CHECK_FALSE(writer.is_back());
  make_ready(ready);
  own.wait_until([&] { return writer.is_back(); });
  CHECK(writer.end() == io_wait_end::ready);
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: a half-close wakes the reader, and a drained read is tried from then on", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  waiting reader{here, io_direction::read};
  REQUIRE(::shutdown(sockets.there, SHUT_WR) == 0);
  own.wait_until([&] { return reader.is_back(); });
  CHECK(reader.end() == io_wait_end::ready);
  // The end was told, and will not be told again: a reader that thinks it has read all must not park.
  for (int i = 0; i < 3; ++i)
    CHECK(here.state->wait(io_direction::read, here.generation, true, "test") == io_wait_end::ready);
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: a hang-up wakes both directions", "[io][poller]") {
  owner own;
  socket_pair sockets;
  fill(sockets.here);
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  waiting reader{here, io_direction::read};
  waiting writer{here, io_direction::write};
  ::close(std::exchange(sockets.there, -1));
  own.wait_until([&] { return reader.is_back() && writer.is_back(); });
  CHECK(reader.end() == io_wait_end::ready);
  CHECK(writer.end() == io_wait_end::ready);
  CHECK(here.state->wait(io_direction::read, here.generation, true, "test") == io_wait_end::ready);
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: an error wakes both directions", "[io][poller]") {
  owner own;
  // A connection that is reset: its peer closes without lingering.
  fd_guard listener{::socket(AF_INET, SOCK_STREAM, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const name = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listener.get(), name, size) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  REQUIRE(::getsockname(listener.get(), name, &size) == 0);
  fd_guard here{::socket(AF_INET, SOCK_STREAM, 0)};
  REQUIRE(::connect(here.get(), name, size) == 0);
  fd_guard there{::accept(listener.get(), nullptr, nullptr)};
  REQUIRE(::fcntl(here.get(), F_SETFL, O_NONBLOCK) == 0);
  fill(here.get());

  const registration added = own.add(here.get());
  own.forget_edges(added);
  waiting reader{added, io_direction::read};
  waiting writer{added, io_direction::write};
  there.reset();  // with data that nobody read: a reset
  own.wait_until([&] { return reader.is_back() && writer.is_back(); });
  CHECK(reader.end() == io_wait_end::ready);
  CHECK(writer.end() == io_wait_end::ready);
  withdraw(added, here.get(), nullptr);
}

TEST_CASE("poller: closing wakes who waits in either direction, and says so", "[io][poller]") {
  owner own;
  socket_pair sockets;
  fill(sockets.here);
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  waiting reader{here, io_direction::read};
  waiting writer{here, io_direction::write};
  withdraw(here, std::exchange(sockets.here, -1), &real_system_calls());
  CHECK(reader.end() == io_wait_end::closed);
  CHECK(writer.end() == io_wait_end::closed);
  char nothing = 0;
  CHECK(::recv(sockets.there, &nothing, 0, 0) == 0);  // the descriptor itself is closed too
}

TEST_CASE("poller: a second wait in the same direction is refused", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  waiting reader{here, io_direction::read};
  CHECK_THROWS_AS(here.state->wait(io_direction::read, here.generation, false, "test"), roving::concurrent_use);
  write_one(sockets.there);
  own.wait_until([&] { return reader.is_back(); });
  CHECK(reader.end() == io_wait_end::ready);  // the first is none the worse for it
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: an event of a closed descriptor does not reach the one that got its slot and number",
          "[io][poller]") {
  owner own;
  int number = -1;
  std::uint64_t late = 0;
  const descriptor* slot = nullptr;
  {
    socket_pair sockets;
    const registration before = own.add(sockets.here);
    own.forget_edges(before);
    late = before.state->token();
    slot = before.state;
    number = sockets.here;
    withdraw(before, std::exchange(sockets.here, -1), &real_system_calls());
  }
  socket_pair sockets;
  REQUIRE(::dup2(sockets.here, number) == number);
  const fd_guard reused{number};
  const registration now = own.add(number);
  REQUIRE(now.state == slot);
  own.forget_edges(now);

  // As if it had been in a batch that somebody else still held when the descriptor was closed.
  ready_list ready;
  own.queue->descriptors().deliver(late, {.readable = true, .writable = true, .hung_up = true}, ready);
  CHECK(ready.empty());
  CHECK_FALSE(now.state->has_edge(io_direction::read));
  CHECK_FALSE(now.state->has_edge(io_direction::write));

  write_one(sockets.there);
  own.poll();
  CHECK(now.state->has_edge(io_direction::read));
  withdraw(now, number, nullptr);
}

TEST_CASE("poller: a closed descriptor is silent although a duplicate lives on", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const fd_guard duplicate{::dup(sockets.here)};
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  withdraw(here, std::exchange(sockets.here, -1), &real_system_calls());
  write_one(sockets.there);
  ready_list ready;
  own.queue->poll(ready);
  CHECK(ready.empty());
  CHECK_FALSE(here.state->has_edge(io_direction::read));
}

TEST_CASE("poller: a closed descriptor is silent although a child has a duplicate", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  int hold[2];
  REQUIRE(::pipe(hold) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // keeps all descriptors until the parent lets go of the pipe
    ::close(hold[1]);
    char nothing = 0;
    ::_exit(::read(hold[0], &nothing, 1) == 0 ? 0 : 1);
  }
  ::close(hold[0]);
  withdraw(here, std::exchange(sockets.here, -1), &real_system_calls());
  write_one(sockets.there);  // the child's duplicate becomes readable
  ready_list ready;
  own.queue->poll(ready);
  CHECK(ready.empty());
  CHECK_FALSE(here.state->has_edge(io_direction::read));
  ::close(hold[1]);
  int status = -1;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("poller: wake ends the wait that goes on, and not the next", "[io][poller]") {
  owner own;
  std::atomic<bool> is_back{false};
  std::thread sleeper{[&] {
    ready_list ready;
    own.queue->wait(roving::time_point::max(), ready);
    is_back = true;
  }};
  // The poller can't be serviced while its owner is in wait().
  for (bool serviced = true; serviced;) {
    ready_list ready;
    serviced = own.queue->service(ready);
    std::this_thread::yield();
  }
  CHECK_FALSE(is_back);
  own.queue->wake();
  sleeper.join();
  CHECK(is_back);
  ready_list ready;
  const auto until = roving::now() + 5ms;
  own.queue->wait(until, ready);
  CHECK(roving::now() >= until);
}

TEST_CASE("poller: wake ends the next wait when none goes on, and many wakes end one", "[io][poller]") {
  owner own;
  std::vector<std::thread> wakers;
  for (int i = 0; i < 4; ++i)
    wakers.emplace_back([&] {
      for (int n = 0; n < 250; ++n) own.queue->wake();
    });
  for (std::thread& each : wakers) each.join();
  ready_list ready;
  own.queue->wait(roving::time_point::max(), ready);  // would never return
  const auto until = roving::now() + 5ms;
  own.queue->wait(until, ready);
  CHECK(roving::now() >= until);  // the thousand were one
  CHECK(ready.empty());
}

TEST_CASE("poller: a wake that a servicing thread heard is not lost", "[io][poller]") {
  owner own;
  own.queue->wake();
  ready_list ready;
  REQUIRE(own.queue->service(ready));
  REQUIRE(own.queue->service(ready));
  own.queue->wait(roving::time_point::max(), ready);  // would never return
  CHECK(ready.empty());
}

namespace {
std::atomic<poller*> woken_by_signal{nullptr};
}

TEST_CASE("poller: a signal handler can wake", "[io][poller]") {
  owner own;
  woken_by_signal = own.queue.get();
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { woken_by_signal.load()->wake(); };
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  REQUIRE(::raise(SIGUSR1) == 0);
  ready_list ready;
  own.queue->wait(roving::time_point::max(), ready);  // would never return
  CHECK(ready.empty());
  REQUIRE(::sigaction(SIGUSR1, &before, nullptr) == 0);
}

TEST_CASE("poller: another thread services it while its owner is busy", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  own.forget_edges(here);
  waiting reader{here, io_direction::read};
  write_one(sockets.there);
  bool serviced = false;
  std::thread servicer{[&] {
    ready_list ready;
    serviced = own.queue->service(ready);
    make_ready(ready);
  }};
  servicer.join();
  CHECK(serviced);
  CHECK(reader.end() == io_wait_end::ready);
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: owner and servicers together lose no event", "[io][poller][stress]") {
  constexpr int rounds = 2000;
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  std::atomic<bool> done{false};
  std::vector<std::thread> servicers;
  for (int i = 0; i < 2; ++i)
    servicers.emplace_back([&] {
      while (!done) {
        ready_list ready;
        static_cast<void>(own.queue->service(ready));
        make_ready(ready);
        std::this_thread::yield();
      }
    });
  // It answers each byte, and waits in between; the writer sends the next when it has the answer.
  std::thread echo{[&] {
    for (int i = 0; i < rounds;) {
      char byte = 0;
      if (::recv(sockets.here, &byte, 1, 0) == 1) {
        static_cast<void>(::send(sockets.here, &byte, 1, 0));
        ++i;
      } else {
        static_cast<void>(here.state->wait(io_direction::read, here.generation, false, "test"));
      }
    }
  }};
  int echoed = 0;
  for (; echoed < rounds; ++echoed) {
    write_one(sockets.there);
    own.wait_until([&] {
      char byte = 0;
      return ::recv(sockets.there, &byte, 1, 0) == 1;
    });
    own.queue->wake();  // and it has this to tell apart besides
  }
  echo.join();
  done = true;
  for (std::thread& each : servicers) each.join();
  CHECK(echoed == rounds);
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: ten thousand descriptors each have their event", "[io][poller]") {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlimit before = limit;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 12'000);
  if (limit.rlim_cur > before.rlim_cur) REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  const std::size_t count = std::min<std::size_t>(10'000, std::max(limit.rlim_cur, before.rlim_cur) - 200);

  {
    owner own{{.batch = 100}};
    socket_pair sockets;
    std::vector<fd_guard> all;
    std::vector<registration> added;
    for (std::size_t i = 0; i < count; ++i) {
      all.emplace_back(::dup(sockets.here));
      REQUIRE(all.back().get() >= 0);
      added.push_back(own.add(all.back().get()));
    }
    write_one(sockets.there);  // one byte, and each duplicate can be read
    std::size_t polls = 0;
    const auto has_edge = [](registration of) { return of.state->has_edge(io_direction::read); };
    for (; polls < 10 * count && !std::all_of(added.begin(), added.end(), has_edge); ++polls) own.poll();
    CHECK(std::all_of(added.begin(), added.end(), has_edge));
    CHECK(polls >= count / 100);  // a batch is no larger than asked
    for (std::size_t i = 0; i < count; ++i) withdraw(added[i], all[i].get(), nullptr);
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("poller: a timeout is never early", "[io][poller]") {
  const bool whole_milliseconds = GENERATE(false, true);
  owner own{{.whole_milliseconds = whole_milliseconds}};
  for (const auto span : {1ns, 999ns, 20'000ns, 300'000ns, 1'000'000ns, 1'000'001ns, 2'700'000ns}) {
    const auto until = roving::now() + span;
    ready_list ready;
    own.queue->wait(until, ready);
    CHECK(roving::now() >= until);
    CHECK(ready.empty());
  }
  ready_list ready;
  own.queue->wait(roving::now() - 1s, ready);  // past: it does not block
  own.queue->wait(roving::time_point::min(), ready);
  CHECK(ready.empty());
}

TEST_CASE("poller: interest for once is level-triggered and told once", "[io][poller]") {
  owner own;
  socket_pair sockets;
  write_one(sockets.there);
  for (int i = 0; i < 3; ++i) {  // nobody reads the byte, and each wait is told of it
    const registration once = own.add(sockets.here, interest::readable_once);
    waiting reader{once, io_direction::read};
    own.wait_until([&] { return reader.is_back(); });
    CHECK(reader.end() == io_wait_end::ready);
    write_one(sockets.there);
    own.poll();
    CHECK_FALSE(once.state->has_edge(io_direction::read));  // told already
    withdraw(once, sockets.here, nullptr);
  }
  const registration once = own.add(sockets.here, interest::writable_once);
  own.poll();
  CHECK(once.state->has_edge(io_direction::write));
  CHECK_FALSE(once.state->has_edge(io_direction::read));
  withdraw(once, sockets.here, nullptr);
}

TEST_CASE("poller: a number that is there already, or none at all, is refused", "[io][poller]") {
  owner own;
  socket_pair sockets;
  const registration here = own.add(sockets.here);
  std::error_code error;
  CHECK(own.queue->enroll(sockets.here, interest::readable_once, error).state == nullptr);
  CHECK(error == std::errc::file_exists);
  CHECK(own.queue->enroll(-1, interest::edges, error).state == nullptr);
  CHECK(error == std::errc::bad_file_descriptor);
  withdraw(here, sockets.here, nullptr);
}

TEST_CASE("poller: a number that its owner closed while it was waited for can be added again", "[io][poller]") {
  const interest again = GENERATE(interest::readable_once, interest::edges);
  owner own;
  socket_pair sockets;
  registration before;
  int number = -1;
  {
    socket_pair closed;
    number = closed.here;
    before = own.add(number, interest::readable_once);
  }
  REQUIRE(::dup2(sockets.here, number) == number);
  const fd_guard reused{number};
  const registration now = own.add(number, again);
  std::error_code error;
  CHECK(own.queue->enroll(number, interest::readable_once, error).state == nullptr);
  CHECK(error == std::errc::file_exists);
  withdraw(before, number, nullptr);  // whoever had the number does not disturb who has it now
  waiting reader{now, io_direction::read};
  write_one(sockets.there);
  own.wait_until([&] { return reader.is_back(); });
  CHECK(reader.end() == io_wait_end::ready);
  withdraw(now, number, nullptr);
}

TEST_CASE("poller: a regular file is refused or always ready", "[io][poller]") {
  owner own;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), std::fclose};
  REQUIRE(file != nullptr);
  const int fd = ::fileno(file.get());
  std::error_code error;
  const registration added = own.queue->enroll(fd, interest::readable_once, error);
  if (added.state == nullptr) {
    CHECK(error == std::errc::operation_not_permitted);
    return;
  }
  own.poll();
  CHECK(added.state->has_edge(io_direction::read));
  withdraw(added, fd, nullptr);
}

TEST_CASE("poller: a descriptor may outlive it, and its generation does not", "[io][poller]") {
  socket_pair sockets;
  registration here;
  {
    owner own;
    here = own.add(sockets.here);
    own.poll();
  }
  CHECK(here.state->wait(io_direction::read, here.generation, false, "test") == io_wait_end::stale);
  withdraw(here, std::exchange(sockets.here, -1), &real_system_calls());
}

TEST_CASE("poller: threads add, wait and withdraw at the same time", "[io][poller][stress]") {
  owner own;
  std::atomic<int> left{4};
  std::atomic<int> seen{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        int both[2];
        if (::pipe(both) != 0) break;
        std::error_code error;
        const registration added = own.queue->enroll(both[0], interest::edges, error);
        if (!error && ::write(both[1], "x", 1) == 1 &&
            added.state->wait(io_direction::read, added.generation, false, "test") == io_wait_end::ready)
          ++seen;
        if (!error) withdraw(added, both[0], &real_system_calls());
        ::close(both[1]);
      }
      --left;
      own.queue->wake();
    });
  own.wait_until([&] { return left == 0; });
  for (std::thread& each : threads) each.join();
  CHECK(seen == 4 * 300);
}
