// Tested: TCP over a kernel that interrupts, finds nothing, takes and gives less than there is, and has no descriptors
// and no memory. See faulty_calls.hpp for what is modelled.
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "io/poller.hpp"
#include "tests/faults/faults.hpp"
#include "tests/faults/faulty_calls.hpp"
#include "tests/faults/seams.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using test::world;

namespace {

roving::runtime make_runtime(const world& where, test::faulty_kernel& kernel) {
  return test::make_runtime(test::quiet(where), [&](roving::detail::scheduler_options& seams) {
    seams.make_parker = [&](unsigned) {
      roving::detail::poller_options how;
      how.epoll = &kernel.epoll;
      return roving::detail::make_poller(kernel.calls, how);
    };
  });
}

void echo(roving::tcp_stream stream) {
  std::array<char, 700> bytes{};
  while (const std::size_t size = stream.read_some({bytes.data(), bytes.size()}))
    stream.write_all({bytes.data(), size});
}

// Names connection and message in every byte that can be told apart.
std::string message_of(unsigned connection, unsigned number) {
  const std::string id = std::to_string(connection) + ":" + std::to_string(number) + ";";
  std::string text;
  const std::size_t size = 1 + (connection * 131 + number * 977) % 3000;
  while (text.size() < size) text += id;
  return text;
}

// One connection: what is written comes back, byte by byte.
void talk(const roving::endpoint& at, unsigned connection, unsigned messages) {
  auto stream = roving::tcp_stream::connect(at);
  roving::with_task_group([&](roving::task_group& group) {
    group.spawn([&] {
      for (unsigned i = 0; i < messages; ++i) {
        const std::string text = message_of(connection, i);
        const std::size_t middle = text.size() / 2;
        const std::array<roving::const_buffer, 2> parts{
            roving::const_buffer{text.data(), middle},
            roving::const_buffer{text.data() + middle, text.size() - middle}};
        stream.write_all(parts);
      }
      stream.shutdown(roving::direction::write);
    });
    for (unsigned i = 0; i < messages; ++i) {
      const std::string text = message_of(connection, i);
      std::string back(text.size(), ' ');
      stream.read_exactly({back.data(), back.size()});
      if (back != text) throw std::logic_error{"what came back is not what was sent"};
    }
    char end = 0;
    if (stream.read_some({&end, 1}) != 0) throw std::logic_error{"more came back than was sent"};
  });
}

// Whether it is an error of the world that says where it happened. Groups and ends of streams are what follows of one.
bool is_clear(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const roving::exception_group& all) {
    for (const std::exception_ptr& each : all.exceptions())
      if (!is_clear(each)) return false;
    return true;
  } catch (const std::system_error& failed) {
    static const std::set<int> known{EMFILE, ENFILE,     ENOBUFS,      ENOMEM,        ENOSPC, ECONNRESET,
                                     EPIPE,  EADDRINUSE, ECONNREFUSED, EADDRNOTAVAIL, EAGAIN, ENOTCONN};
    const std::string text = failed.what();
    const bool has_name = text.find("tcp_") != std::string::npos || text.find("serve") != std::string::npos ||
        text.find("epoll_") != std::string::npos || text.find("eventfd") != std::string::npos;
    return has_name && (failed.code() == roving::io_errc::end_of_stream || known.count(failed.code().value()) != 0);
  } catch (...) {
    return false;
  }
}

}  // namespace

TEST_CASE("faults: EINTR, spurious EAGAIN and short counts lose no byte and are no errors", "[faults][calls]") {
  const test::bounded bound{60};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  const bool shared_port = GENERATE(false, true);
  constexpr unsigned connections = 12;
  constexpr unsigned messages = 25;
  const std::size_t descriptors = test::open_descriptors();
  std::uint64_t injected = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    test::bounded::at("soft faults, seed %u, %u shards", static_cast<unsigned>(seed), where.shards);
    test::faulty_kernel kernel{seed};
    kernel.plan.set({.interrupts = 100, .would_block = 100, .short_counts = 300, .hard = 0});
    std::atomic<int> errors{0};
    const std::exception_ptr error = test::error_of([&] {
      roving::runtime runtime = make_runtime(where, kernel);
      test::run_in(runtime, where, [&] {
        roving::tcp_listener listener{{"127.0.0.1", 0}, {.reuse_port = shared_port}};
        const roving::endpoint at = listener.local_endpoint();
        roving::serve_options how;
        how.accept = roving::every_shard;
        how.on_accept_error = [&](const std::error_code&) { ++errors; };
        how.on_error = [&](const std::exception_ptr&) { ++errors; };
        auto server = roving::spawn([&] { roving::serve(listener, how, echo); });
        roving::with_task_group([&](roving::task_group& group) {
          for (unsigned i = 0; i < connections; ++i) group.spawn([&, i] { talk(at, i, messages); });
        });
        server.cancel();
        server.join();
      });
    });
    INFO("seed " << seed << ": " << test::text_of(error));
    CHECK(!error);
    CHECK(errors == 0);
    CHECK(kernel.plan.soft() > 100);
    injected += kernel.plan.soft();
    CHECK(test::open_descriptors() == descriptors);
  }
  test::show("calls: soft, %u shards, %s, %s: %llu faults\n", where.shards, where.is_roving ? "roving" : "pinned",
             shared_port ? "shared port" : "one socket", static_cast<unsigned long long>(injected));
}

TEST_CASE("faults: hard errors of the kernel come out by name, and the runtime goes on", "[faults][calls]") {
  const test::bounded bound{60};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  constexpr unsigned connections = 40;
  const std::size_t descriptors = test::open_descriptors();
  std::uint64_t injected = 0;
  unsigned failed = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    test::bounded::at("hard faults, seed %u, %u shards", static_cast<unsigned>(seed), where.shards);
    test::faulty_kernel kernel{seed};
    std::atomic<unsigned> unclear{0};
    std::atomic<unsigned> failed_talks{0};
    const std::exception_ptr error = test::error_of([&] {
      roving::runtime runtime = make_runtime(where, kernel);
      test::run_in(runtime, where, [&] {
        roving::tcp_listener listener{{"127.0.0.1", 0}};
        const roving::endpoint at = listener.local_endpoint();
        roving::serve_options how;
        how.accept = roving::every_shard;
        how.retry_after = 100us;
        how.on_accept_error = [&](const std::error_code& code) {
          if (!is_clear(std::make_exception_ptr(std::system_error{code, "serve"}))) ++unclear;
        };
        how.on_error = [&](const std::exception_ptr& each) {
          if (!is_clear(each)) ++unclear;
        };
        auto server = roving::spawn([&] { roving::serve(listener, how, echo); });
        kernel.plan.set({.interrupts = 20, .would_block = 20, .short_counts = 100, .hard = 4});
        std::vector<roving::task<void>> talks;
        for (unsigned i = 0; i < connections; ++i) talks.push_back(roving::spawn([&, i] { talk(at, i, 5); }));
        for (auto& each : talks) {
          const std::exception_ptr outcome = test::error_of([&] { each.get(); });
          if (outcome) ++failed_talks;
          if (outcome && !is_clear(outcome)) ++unclear;
        }
        kernel.plan.set({});
        talk(at, connections, 5);  // as if nothing had been
        server.cancel();
        server.join();
      });
    });
    INFO("seed " << seed << ": " << test::text_of(error));
    CHECK(!error);
    CHECK(unclear == 0);
    CHECK(kernel.plan.failures() > 0);
    injected += kernel.plan.failures();
    failed += failed_talks;
    CHECK(test::open_descriptors() == descriptors);
  }
  CHECK(failed > 0);
  test::show("calls: hard, %u shards, %s: %llu faults, %u connections failed\n", where.shards,
             where.is_roving ? "roving" : "pinned", static_cast<unsigned long long>(injected), failed);
}

TEST_CASE("faults: each system call fails once", "[faults][calls]") {
  const test::bounded bound{60};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  const bool shared_port = GENERATE(false, true);
  const std::size_t descriptors = test::open_descriptors();
  unsigned threw = 0;
  unsigned runs = 0;
  std::string wrong;
  unsigned beyond_the_end = 0;
  for (std::uint64_t which = 1; beyond_the_end < 3 && wrong.empty(); ++which, ++runs) {
    test::bounded::at("system call %u, %u shards, %s", static_cast<unsigned>(which), where.shards,
                      where.is_roving ? "roving" : "pinned");
    test::faulty_kernel kernel{which};
    kernel.plan.fail_only(which);
    const auto program = [&] {
      roving::tcp_listener listener{{"127.0.0.1", 0}, {.reuse_port = shared_port}};
      const roving::endpoint at = listener.local_endpoint();
      roving::serve_options how;
      how.accept = roving::every_shard;
      how.retry_after = 100us;
      how.on_accept_error = [](const std::error_code&) {};
      how.on_error = [](const std::exception_ptr&) {};
      roving::with_task_group([&](roving::task_group& group) {
        auto server = group.spawn([&] { roving::serve(listener, how, echo); });
        talk(at, 1, 3);
        {
          auto stream = roving::tcp_stream::connect(at);
          stream.set_no_delay(true);
          (void)stream.remote_endpoint();
        }
        server.cancel();
      });
    };
    std::exception_ptr first;
    std::exception_ptr second;
    const std::exception_ptr outside = test::error_of([&] {
      roving::runtime runtime = make_runtime(where, kernel);
      first = test::error_of([&] { test::run_in(runtime, where, program); });
      beyond_the_end = kernel.plan.failures() == 0 ? beyond_the_end + 1 : 0;
      kernel.plan.fail_only(0);
      second = test::error_of([&] { test::run_in(runtime, where, program); });
    });
    for (const std::exception_ptr& each : {first, outside}) {
      threw += each != nullptr;
      if (each && !is_clear(each)) wrong += "threw " + test::text_of(each);
    }
    if (second) wrong += "; the second run threw " + test::text_of(second);
    if (test::open_descriptors() != descriptors) wrong += "; descriptors are left";
    if (!wrong.empty()) wrong = "call " + std::to_string(which) + ": " + wrong;
  }
  INFO(wrong);
  CHECK(wrong.empty());
  CHECK(threw > 5);
  test::show("calls: each, %u shards, %s, %s: %u runs, %u threw\n", where.shards, where.is_roving ? "roving" : "pinned",
             shared_port ? "shared port" : "one socket", runs, threw);
}

TEST_CASE("faults: without descriptors serve() pauses, does not spin, and goes on when there are some again",
          "[faults][calls]") {
  const test::bounded bound{30};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  test::faulty_kernel kernel{1};
  std::atomic<unsigned> told{0};
  std::atomic<unsigned> wrong_code{0};
  unsigned accepts = 0;
  unsigned pauses = 0;
  {
    roving::runtime runtime = make_runtime(where, kernel);
    test::run_in(runtime, where, [&] {
      roving::tcp_listener listener{{"127.0.0.1", 0}};
      const roving::endpoint at = listener.local_endpoint();
      roving::serve_options how;
      how.retry_after = 1ms;
      roving::event has_paused;
      how.on_accept_error = [&](const std::error_code& code) {
        if (code != std::errc::too_many_files_open) ++wrong_code;
        if (++told == 5) has_paused.set();
      };
      auto server = roving::spawn([&] { roving::serve(listener, how, echo); });
      roving::yield();
      kernel.calls.set_no_descriptors(true);
      const unsigned before = kernel.calls.accepts();
      auto waiting = roving::spawn([&] { talk(at, 1, 3); });  // it is connected, and waits with the kernel
      has_paused.wait();
      kernel.calls.set_no_descriptors(false);
      waiting.get();
      talk(at, 2, 3);
      accepts = kernel.calls.accepts() - before;
      pauses = told;
      server.cancel();
      server.join();
    });
  }
  CHECK(wrong_code == 0);
  CHECK(pauses >= 5);
  CHECK(accepts <= pauses + 10);  // one for each pause, two that got a connection, and what found nothing
}
