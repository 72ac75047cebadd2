// A test case that is run in a process of its own, for what ends a process: its end and its stderr are what is checked.
//
// The process is this executable again, told to run one hidden test case (its tag is [.child]). It is not a fork of
// this one, since what earlier tests have left behind (threads of oneTBB; the sanitizers' own) does not survive that.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

extern char** environ;

namespace roving_test {

inline constexpr const char* mark_of_a_child = "ROVING_TEST_CHILD";

/// What a hidden test case asks first: whether it is in a process of its own. It has the default signal actions then:
/// Catch2 has handlers for these, and whoever started us may ignore SIGINT.
inline bool begin_child() {
  if (std::getenv(mark_of_a_child) == nullptr) return false;  // picked by hand, or by a filter that only excludes
  for (const int each : {SIGINT, SIGSEGV, SIGBUS, SIGTERM}) std::signal(each, SIG_DFL);
  ::alarm(120);  // a process that waits for ever, or faults again and again, must end some time
  return true;
}

class child_process {
 public:
  explicit child_process(std::string hidden_test) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error{"no pipe"};
    std::string program = "/proc/self/exe";
    std::string quiet = "--out=/dev/null";
    std::array<char*, 4> arguments{program.data(), hidden_test.data(), quiet.data(), nullptr};
    std::string mark = std::string{mark_of_a_child} + "=1";
    std::vector<char*> environment{mark.data()};
    for (char** each = environ; *each != nullptr; ++each) environment.push_back(*each);
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions{};
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    const int error =
        ::posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    stderr_ = ends[0];
    if (error != 0) throw std::runtime_error{"no process"};
  }
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() {
    if (process_ > 0) ::kill(process_, SIGKILL);
    (void)end();
    ::close(stderr_);
  }

  void send(int signal) const { ::kill(process_, signal); }

  /// Reads its stderr until `text` has come. False when it ended before.
  bool wait_for_text(const std::string& text) {
    std::array<char, 512> part{};
    while (text_.find(text) == std::string::npos) {
      const ssize_t count = ::read(stderr_, part.data(), part.size());
      if (count <= 0) return false;
      text_.append(part.data(), static_cast<std::size_t>(count));
    }
    return true;
  }

  /// Waits for its end: "signal N" or "status N".
  std::string end() {
    if (process_ > 0) {
      (void)wait_for_text(std::string(1, '\0'));  // to its end
      int status = 0;
      ::waitpid(process_, &status, 0);
      process_ = 0;
      end_ = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                 : "status " + std::to_string(WEXITSTATUS(status));
    }
    return end_;
  }

  /// All that it wrote to stderr until its end.
  std::string text() {
    (void)end();
    return text_;
  }

 private:
  pid_t process_ = 0;
  int stderr_ = -1;
  std::string text_;
  std::string end_;
};

}  // namespace roving_test
