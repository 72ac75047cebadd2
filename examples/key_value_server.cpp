// The key-value server as a program: `key_value_server PORT`, until Ctrl-C. See key_value.hpp.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <roving/roving.hpp>

#include "key_value.hpp"

int main(int argc, char** argv) {
  const long port = argc == 2 ? std::strtol(argv[1], nullptr, 10) : -1;
  constexpr long highest_port = 65535;
  if (port < 0 || port > highest_port) {
    std::fprintf(stderr, "usage: %s PORT, a number up to %ld; 0 for any that is free\n", argv[0], highest_port);
    return 2;
  }
  try {
    return roving::run([&] {
      roving::tcp_listener listener{{"127.0.0.1", static_cast<std::uint16_t>(port)}};
      std::printf("serving on port %u\n", static_cast<unsigned>(listener.local_endpoint().port()));
      std::fflush(stdout);
      key_value::store values;
      key_value::serve(listener, values);
      return 0;
    });
  } catch (const roving::interrupted&) {
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
