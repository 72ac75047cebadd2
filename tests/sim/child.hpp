// Runs what may crash, hang or abandon its stacks in a process of its own.
#pragma once

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace roving_test {

/// What became of a child.
struct child_end {
  bool was_clean = false;      // it came to its end
  std::string how;             // the text it gave, or by which signal it ended
  std::uint64_t progress = 0;  // the last number it told
};

/// Calls `body` in a child, with a place where it tells how far it has come. What it returns comes back as `how`, and
/// counts as clean when it is empty. A child that takes longer than `seconds` is ended.
inline child_end in_child(unsigned seconds, const std::function<std::string(volatile std::uint64_t& progress)>& body) {
  child_end end;
  constexpr std::size_t text_at_most = 4000;
  struct shared {
    volatile std::uint64_t progress;
    char text[text_at_most];
  };
  void* const memory = ::mmap(nullptr, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error{"mmap failed"};
  auto* const both = static_cast<shared*>(memory);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error{"fork failed"};
  if (child == 0) {
    for (const int each : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) ::signal(each, SIG_DFL);  // not the test's report
    ::alarm(seconds);
    const std::string text = body(both->progress);
    text.copy(both->text, text_at_most - 1);
    ::_exit(text.empty() ? 0 : 1);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
  }
  end.progress = both->progress;
  end.was_clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  end.how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : std::string{both->text};
  ::munmap(memory, sizeof(shared));
  return end;
}

}  // namespace roving_test
