// What the C++ servers of the peers share, and the limits of our own: their command line, and what they say when they
// listen.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>

namespace roving_perf {

inline constexpr int backlog = 4096;

/// The N of `[--port N]`, 7000 without; 0 lets the system choose.
inline std::uint16_t port_of(int count, char** arguments) {
  if (count == 1) return 7000;
  std::uint16_t port = 0;
  if (count == 3 && std::string_view{arguments[1]} == "--port") {
    const char* const end = arguments[2] + std::strlen(arguments[2]);
    const auto read = std::from_chars(arguments[2], end, port);
    if (read.ec == std::errc{} && read.ptr == end) return port;
  }
  std::fprintf(stderr, "%s [--port N]\n", arguments[0]);
  std::exit(2);
}

inline void say_port(std::uint16_t port) {
  std::printf("listening on 127.0.0.1:%u\n", unsigned{port});
  std::fflush(stdout);
}

}  // namespace roving_perf
