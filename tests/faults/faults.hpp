// What all tests of faults have in common: a bound on their time that says where they were, and what must be back
// at its old count afterwards.
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <dirent.h>
#include <unistd.h>

#include <roving/detail/assert.hpp>

namespace test {

/// Ends the process after some seconds. A line on stderr says where it was, also when something else ends it.
class bounded {
 public:
  explicit bounded(unsigned seconds) {
    where()[0] = '\0';
    for (std::size_t i = 0; i < before_.size(); ++i) before_[i] = ::signal(signals[i], &say_where);
    ::alarm(seconds);
  }
  bounded(const bounded&) = delete;
  bounded& operator=(const bounded&) = delete;
  ~bounded() {
    ::alarm(0);
    for (std::size_t i = 0; i < before_.size(); ++i) ::signal(signals[i], before_[i]);
  }

  /// Where it is now.
  template <class... Values>
  static void at(const char* format, Values... values) {
    std::snprintf(where(), size, format, values...);
  }

 private:
  static constexpr std::size_t size = 256;
  static constexpr std::array<int, 3> signals{SIGALRM, SIGABRT, SIGSEGV};
  static char* where() {
    static char text[size];
    return text;
  }
  static void say_where(int signal) {
    const char* const start = signal == SIGALRM ? "\nfault_tests: no end: " : "\nfault_tests: ";
    for (const char* const each : {start, static_cast<const char*>(where()), "\n"})
      static_cast<void>(!::write(STDERR_FILENO, each, std::strlen(each)));
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  }

  std::array<void (*)(int), signals.size()> before_{};
};

/// What was counted, when ROVING_SHOW_FAULTS is set: docs/reliability.md has it from there.
template <class... Values>
void show(const char* format, Values... values) {
  if (std::getenv("ROVING_SHOW_FAULTS") != nullptr) std::printf(format, values...);
}

/// How many descriptors this process has, but for the one that it takes to look.
inline std::size_t open_descriptors() {
  DIR* const all = ::opendir("/proc/self/fd");
  ROVING_ASSERT(all != nullptr);
  std::size_t count = 0;
  while (::readdir(all) != nullptr) ++count;
  ::closedir(all);
  return count - 3;  // ".", ".." and itself
}

}  // namespace test
