// Runs what ends a process, hangs or abandons its stacks in a forked child, whose stderr and end are read.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace test {

struct child_end {
  std::string text;      // what it wrote to stderr
  std::string returned;  // what its body did, if that gives a text
  int signal = 0;        // by which it ended
  int status = -1;       // or its exit status

  /// What its body returned, else what ended it; empty when it came to its end and had nothing to say.
  [[nodiscard]] std::string how() const {
    if (signal != 0) return "signal " + std::to_string(signal);
    return returned.empty() && status != 0 ? "status " + std::to_string(status) : returned;
  }
};

/// Calls `body` in a child. One that takes longer than `seconds` is ended.
template <class Body>
child_end in_a_child(Body body, unsigned seconds = 60) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) throw std::runtime_error{"no pipe"};
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error{"no child"};
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::alarm(seconds);  // a fault that is taken again and again must end some time
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    for (const int each : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) ::signal(each, SIG_DFL);  // not the framework's
    if constexpr (std::is_void_v<std::invoke_result_t<Body&>>) {
      body();
    } else {
      const std::string behind_stderr = '\0' + body();
      if (::write(ends[1], behind_stderr.data(), behind_stderr.size()) < 0) ::_exit(99);
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  child_end seen;
  std::array<char, 512> part{};
  for (ssize_t count = 0; (count = ::read(ends[0], part.data(), part.size())) > 0;)
    seen.text.append(part.data(), static_cast<std::size_t>(count));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) seen.signal = WTERMSIG(status);
  if (WIFEXITED(status)) seen.status = WEXITSTATUS(status);
  if (const std::size_t end = seen.text.rfind('\0'); end != std::string::npos) {
    seen.returned = seen.text.substr(end + 1);
    seen.text.resize(end);
  }
  return seen;
}

}  // namespace test
