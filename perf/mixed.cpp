// An echo server whose requests compute, as one writes it with roving: a task per connection.
//
// What the calling shard accepts, any shard may serve: handlers rove, unless they are told to stay. limit_mixed.cpp
// does the same by hand, without stealing.
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>

#include <roving/roving.hpp>
#include <roving/serve.hpp>

#include "perf/burn.hpp"
#include "perf/server_program.hpp"

namespace {

using roving_perf::read_number;

constexpr std::string_view usage =
    R"(mixed [options]     answers each message on 127.0.0.1 with itself, having computed; until it is ended by a signal

  --port N            0 lets the system choose; the one that it is gets printed (7000)
  --threads N         shards (2)
  --rounds N          of work for each request (0); limit_mixed --calibrate says how many a millisecond has
  --stall-percent N   requests of a hundred that take other work instead (0)
  --stall-rounds N    that work (0)
  --spread 0|1        1: each shard has a listening socket of its own; 0: shard 0 accepts all (0)
  --rove 0|1          1: connections are served by whatever shard has time; 0: by the one that accepted (1)
)";

struct settings {
  std::uint16_t port = 7000;
  unsigned threads = 2;
  bool spread = false;
  bool rove = true;
  roving_perf::work_plan work;
};

settings read_arguments(char** arguments) {
  settings read;
  for (char** at = arguments + 1; *at != nullptr; at += 2) {
    const std::string_view option = *at;
    unsigned choice = 0;
    if (option == "--port") {
      read_number(option, at[1], read.port);
    } else if (option == "--threads") {
      read_number(option, at[1], read.threads);
    } else if (option == "--rounds") {
      read_number(option, at[1], read.work.rounds);
    } else if (option == "--stall-percent") {
      read_number(option, at[1], read.work.stall_percent);
    } else if (option == "--stall-rounds") {
      read_number(option, at[1], read.work.stall_rounds);
    } else if (option == "--spread" || option == "--rove") {
      read_number(option, at[1], choice);
      (option == "--rove" ? read.rove : read.spread) = choice != 0;
    } else {
      throw std::invalid_argument{"there is no option " + std::string{option}};
    }
  }
  return read;
}

void answer(roving::tcp_stream stream, const roving_perf::work_plan& work, std::uint64_t random) {
  std::array<char, 4096> buffer;
  std::error_code error;  // a client that is gone is none of ours
  while (const std::size_t bytes = stream.read_some(buffer, error)) {
    work.do_one(random);
    stream.write_all({buffer.data(), bytes}, error);
    if (error) return;
  }
}

void serve(const settings& chosen) {
  roving::listen_options listening;
  listening.reuse_port = chosen.spread;
  roving::tcp_listener listener{{"127.0.0.1", chosen.port}, listening};
  std::printf("listening on %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  roving::serve_options how;
  if (chosen.spread) how.accept = roving::every_shard;
  how.handlers = chosen.rove ? roving::anywhere : roving::pinned;
  std::atomic<std::uint64_t> connections{0};
  roving::serve(listener, how, [&](roving::tcp_stream stream) {
    answer(std::move(stream), chosen.work, connections.fetch_add(1, std::memory_order_relaxed) + 1);
  });
}

}  // namespace

int main(int, char** arguments) {
  return roving_perf::run_server("mixed", usage, [&] {
    const settings chosen = read_arguments(arguments);
    roving::run({.shards = chosen.threads}, [&] { serve(chosen); });
  });
}
