// What the programs of our servers share: the numbers behind their options, and how main() ends.
#pragma once

#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <roving/error.hpp>

namespace roving_perf {

/// Of `text`, which stands behind the option or is null. Throws std::invalid_argument where that is no number.
template <class Number>
void read_number(std::string_view option, const char* text, Number& into) {
  if (text == nullptr) throw std::invalid_argument{std::string{option} + " wants a number"};
  const char* const end = text + std::strlen(text);
  const auto read = std::from_chars(text, end, into);
  if (read.ec == std::errc::result_out_of_range)
    throw std::invalid_argument{std::string{option} + ": " + text + " is too large"};
  if (read.ec != std::errc{} || read.ptr != end)
    throw std::invalid_argument{std::string{option} + " wants a number, not \"" + text + "\""};
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
