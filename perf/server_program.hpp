// What the programs of our servers share: the numbers behind their options, and how main() ends.
#pragma once

#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

#include <roving/error.hpp>

namespace roving_perf {

/// Of `text`, which stands behind the option or is null. Throws std::invalid_argument where that is no number.
template <class Number>
void read_number(std::string_view option, const char* text, Number& into) {
  const char* const end = text != nullptr ? text + std::strlen(text) : nullptr;
  if (text == nullptr || std::from_chars(text, end, into).ptr != end || text == end)
    throw std::invalid_argument{std::string{option} + " wants a number"};
}

/// Calls `program`, which reads its arguments and serves until SIGINT. Returns what main() returns: 2, with `usage`
/// told, where arguments were wrong.
template <class Program>
int run_server(const char* name, std::string_view usage, Program program) {
  try {
    program();
    return 0;
  } catch (const roving::interrupted&) {
    return 0;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s: %s\n%s", name, error.what(), usage.data());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace roving_perf
