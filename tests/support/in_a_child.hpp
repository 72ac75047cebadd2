// Runs what ends a process in a forked child, whose stderr and end are read.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <functional>
#include <string>

namespace test {

struct child_end {
  std::string text;  // what it wrote to stderr
  int signal = 0;    // by which it ended
  int status = -1;   // or its exit status
};

inline child_end in_a_child(const std::function<void()>& body) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return {"no pipe", 0, -1};
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::alarm(60);  // a fault that is taken again and again must end some time
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    for (const int each : {SIGSEGV, SIGBUS, SIGABRT}) ::signal(each, SIG_DFL);  // not the test framework's
    body();
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
  return seen;
}

}  // namespace test
