// An echo server as one writes it with roving: a task per connection, which reads and writes as if it blocked.
//
// Does what limit_echo.cpp does by hand, with the same buffers, so that the two can be compared: see bench.py.
#include <array>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>

#include <roving/roving.hpp>
#include <roving/serve.hpp>

#include "perf/server_program.hpp"

namespace {

using roving_perf::read_number;

constexpr std::string_view usage =
    R"(echo [--port N] [--shards N]      answers each message on 127.0.0.1 with itself, until it is ended by a signal

  --port N      0 lets the system choose; the one that it is gets printed (7000)
  --shards N    threads, each with a listening socket of its own (1)
)";

struct settings {
  std::uint16_t port = 7000;
  unsigned shards = 1;
};

settings read_arguments(char** arguments) {
  settings read;
  for (char** at = arguments + 1; *at != nullptr; at += 2) {
    const std::string_view option = *at;
    if (option == "--port")
      read_number(option, at[1], read.port);
    else if (option == "--shards")
      read_number(option, at[1], read.shards);
    else
      throw std::invalid_argument{"there is no option " + std::string{option}};
  }
  return read;
}

void answer(roving::tcp_stream stream) {
  std::array<char, 4096> buffer;
  std::error_code error;  // a client that is gone is none of ours
  while (const std::size_t bytes = stream.read_some(buffer, error)) {
    stream.write_all({buffer.data(), bytes}, error);
    if (error) return;
  }
}

void serve(const settings& chosen) {
  roving::listen_options listening;
  listening.reuse_port = chosen.shards > 1;
  roving::tcp_listener listener{{"127.0.0.1", chosen.port}, listening};
  std::printf("listening on %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  roving::serve_options how;
  if (chosen.shards > 1) how.accept = roving::every_shard;
  roving::serve(listener, how, &answer);
}

}  // namespace

int main(int, char** arguments) {
  return roving_perf::run_server("echo", usage, [&] {
    const settings chosen = read_arguments(arguments);
    roving::run({.shards = chosen.shards}, [&] { serve(chosen); });
  });
}
