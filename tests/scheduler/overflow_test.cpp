// Tested: the report of a stack overflow, and that every other fault goes where it went before. What ends a process is
// done in a forked child, whose stderr and end are read.

#include "scheduler/overflow.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>

#include "scheduler/context.hpp"
#include "scheduler/stack.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/in_a_child.hpp"

namespace {

using roving::detail::alternate_signal_stack;
using roving::detail::context;
using roving::detail::copy_for_report;
using roving::detail::overflow_description;
using roving::detail::overflow_reporter;
using roving::detail::stack;
using roving::detail::stack_pool;
using roving::detail::thread_anchor;
using test::child_end;
using test::in_a_child;

constexpr bool sanitized = roving::detail::address_sanitizer || roving::detail::thread_sanitizer;
constexpr std::size_t stack_bytes = std::size_t{64} * 1024;

// What a runtime would find from its thread.
const stack_pool* watched = nullptr;
const char* name_of_the_task = "worker-7";
const char* file_of_the_spawn = "server.cpp";

bool describe(const void* address, overflow_description& out) noexcept {
  const stack* const found = watched == nullptr ? nullptr : watched->overflowed_at(address);
  if (found == nullptr) return false;
  copy_for_report(out.task_name, sizeof out.task_name, name_of_the_task);
  copy_for_report(out.file, sizeof out.file, file_of_the_spawn);
  out.line = 42;
  out.stack_size_bytes = found->size_bytes;
  return true;
}

[[gnu::noinline]] int recurse(int depth) {
  std::array<volatile char, 512> frame;
  frame[0] = static_cast<char>(depth);
  const int below = depth < 1'000'000 ? recurse(depth + 1) : 0;
  return below + frame[0];
}

// Enters a fiber that runs `body` on a stack of the watched pool.
void on_a_fiber(stack_pool& pool, void (*body)()) {
  struct visit {
    void (*body)();
    context here;
    context there;
    static void start(void* argument, thread_anchor& anchor) noexcept {
      visit& self = *static_cast<visit*>(argument);
      self.body();
      self.there.leave_for(self.here, anchor, nullptr, nullptr);
    }
  } one{body, {}, {}};
  thread_anchor anchor = thread_anchor::of_this_thread();
  one.here.adopt_thread();
  stack& on = pool.take(stack_bytes);
  one.there.prepare(on, &visit::start, &one);
  one.here.switch_to(one.there, anchor, nullptr, nullptr);
  pool.give_back(on);
}

void overflow() { recurse(0); }

[[gnu::noinline]] void fault_elsewhere() {
  void* const nowhere = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile char*>(nowhere) = 1;
}

void say(const char* text) {
  const std::string all{text};
  if (::write(STDERR_FILENO, all.data(), all.size()) < 0) ::_exit(99);
}

void old_handler(int) {
  say("old handler");
  ::_exit(7);
}

void old_handler_with_information(int signal, siginfo_t* information, void*) {
  say(signal == SIGSEGV && information->si_addr != nullptr ? "old handler, informed" : "old handler, lost");
  ::_exit(8);
}

void old_handler_that_returns(int) { say("once "); }

void set_handler(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signal, &action, nullptr);
}

TEST_CASE("overflow: the report names the task, where it was spawned and its stack, and the process ends as before",
          "[scheduler][overflow]") {
  if (sanitized) return;  // they report it themselves
  const std::string expected =
      "roving: stack overflow in task \"worker-7\" (spawned at server.cpp:42), stack of 65536 bytes; use "
      "attributes{.stack_size_bytes = ...}\n";
  const auto overflow_here = [] {
    stack_pool pool;
    watched = &pool;
    const overflow_reporter reporter{&describe};
    const alternate_signal_stack signals;
    on_a_fiber(pool, &overflow);
  };
  SECTION("on the first thread") {
    const child_end seen = in_a_child(overflow_here);
    CHECK(seen.text == expected);
    CHECK(seen.signal == SIGSEGV);
  }
  SECTION("on another thread") {
    const child_end seen = in_a_child([&] { std::thread{overflow_here}.join(); });
    CHECK(seen.text == expected);
    CHECK(seen.signal == SIGSEGV);
  }
  SECTION("when guards are protected pages") {
    const child_end seen = in_a_child([] {
      roving::detail::memory_calls calls = roving::detail::memory_calls::of_the_system();
      calls.install_guard = [](void*, std::size_t) noexcept { return EINVAL; };
      stack_pool pool{{.calls = &calls}};
      watched = &pool;
      const overflow_reporter reporter{&describe};
      const alternate_signal_stack signals;
      on_a_fiber(pool, &overflow);
    });
    CHECK(seen.text == expected);
    CHECK(seen.signal == SIGSEGV);
  }
  SECTION("with another handler installed before") {
    const child_end seen = in_a_child([&] {
      set_handler(SIGSEGV, &old_handler);
      overflow_here();
    });
    CHECK(seen.text == expected);
    CHECK(seen.signal == SIGSEGV);
  }
  SECTION("without a name or a place, it leaves them out") {
    const child_end seen = in_a_child([&] {
      name_of_the_task = "";
      file_of_the_spawn = "";
      overflow_here();
    });
    CHECK(
        seen.text ==
        "roving: stack overflow in task \"unnamed\", stack of 65536 bytes; use attributes{.stack_size_bytes = ...}\n");
  }
  SECTION("and a long name is cut") {
    const std::string name(1000, 'n');
    const child_end seen = in_a_child([&] {
      name_of_the_task = name.c_str();
      overflow_here();
    });
    CHECK(seen.text.find('"' + std::string(sizeof(overflow_description::task_name) - 1, 'n') + '"') !=
          std::string::npos);
    CHECK(seen.signal == SIGSEGV);
  }
}

TEST_CASE("overflow: any other fault goes to whoever handled it before", "[scheduler][overflow]") {
  if (sanitized) return;
  const auto fault_on_a_fiber = [] {
    stack_pool pool;
    watched = &pool;
    const overflow_reporter reporter{&describe};
    const alternate_signal_stack signals;
    on_a_fiber(pool, &fault_elsewhere);
  };
  SECTION("nobody: it ends the process") {
    const child_end seen = in_a_child(fault_on_a_fiber);
    CHECK(seen.text.empty());
    CHECK(seen.signal == SIGSEGV);
  }
  SECTION("a handler") {
    const child_end seen = in_a_child([&] {
      set_handler(SIGSEGV, &old_handler);
      fault_on_a_fiber();
    });
    CHECK(seen.text == "old handler");
    CHECK(seen.status == 7);
  }
  SECTION("a handler that wants information") {
    const child_end seen = in_a_child([&] {
      struct sigaction action {};
      action.sa_sigaction = &old_handler_with_information;
      action.sa_flags = SA_SIGINFO;
      ::sigaction(SIGSEGV, &action, nullptr);
      fault_on_a_fiber();
    });
    CHECK(seen.text == "old handler, informed");
    CHECK(seen.status == 8);
  }
  SECTION("a handler that wants to be called once") {
    const child_end seen = in_a_child([&] {
      set_handler(SIGSEGV, &old_handler_that_returns, static_cast<int>(SA_RESETHAND));
      fault_on_a_fiber();
    });
    CHECK(seen.text == "once ");
    CHECK(seen.signal == SIGSEGV);
  }
  SECTION("a signal that somebody sends ends the process too") {
    const child_end seen = in_a_child([] {
      const overflow_reporter reporter{&describe};
      ::kill(::getpid(), SIGBUS);
    });
    CHECK(seen.signal == SIGBUS);
  }
  SECTION("a signal that somebody sends is ignored where it was") {
    const child_end seen = in_a_child([] {
      set_handler(SIGSEGV, SIG_IGN);
      const overflow_reporter reporter{&describe};
      ::kill(::getpid(), SIGSEGV);
      say("alive");
    });
    CHECK(seen.text == "alive");
    CHECK(seen.status == 0);
  }
}

TEST_CASE("overflow_reporter: the last one puts the previous handlers back", "[scheduler][overflow]") {
  if (sanitized) return;
  const auto handler_of = [](int signal) {
    struct sigaction now {};
    ::sigaction(signal, nullptr, &now);
    return now.sa_handler;
  };
  SECTION("when it is on top") {
    const child_end seen = in_a_child([&] {
      set_handler(SIGSEGV, &old_handler);
      for (int i = 0; i < 3; ++i) {
        {
          const overflow_reporter first{&describe};
          if (handler_of(SIGSEGV) == &old_handler || handler_of(SIGBUS) == SIG_DFL) say("not installed ");
          { const overflow_reporter second{&describe}; }
          if (handler_of(SIGSEGV) == &old_handler) say("gone too early ");
        }
        if (handler_of(SIGSEGV) != &old_handler || handler_of(SIGBUS) != SIG_DFL) say("not restored ");
      }
    });
    CHECK(seen.text.empty());
    CHECK(seen.status == 0);
  }
  SECTION("and leaves alone who came after it and calls it") {
    static struct sigaction below {};
    const child_end seen = in_a_child([&] {
      set_handler(SIGSEGV, &old_handler);
      stack_pool pool;
      watched = &pool;
      const auto on_top = [](int signal, siginfo_t* information, void* registers) {
        say("top ");
        below.sa_sigaction(signal, information, registers);
      };
      {
        const overflow_reporter first{&describe};
        struct sigaction action {};
        action.sa_sigaction = on_top;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        ::sigaction(SIGSEGV, &action, &below);
      }
      const overflow_reporter again{&describe};  // must not take the one on top for the one below
      fault_elsewhere();
    });
    CHECK(seen.text == "top old handler");
    CHECK(seen.status == 7);
  }
}

TEST_CASE("alternate_signal_stack: it is the thread's own, large enough, and the previous one comes back",
          "[scheduler][overflow]") {
  if (sanitized) return;
  struct look {
    void* address = nullptr;
    std::size_t size_bytes = 0;
    static look now() {
      stack_t current{};
      ::sigaltstack(nullptr, &current);
      return {(current.ss_flags & SS_DISABLE) != 0 ? nullptr : current.ss_sp, current.ss_size};
    }
  };
  look first;
  look second;
  look within;
  look after_inner;
  look after;
  std::thread{[&] {
    first = look::now();
    {
      const alternate_signal_stack outer;
      second = look::now();
      {
        const alternate_signal_stack inner;
        within = look::now();
      }
      after_inner = look::now();
    }
    after = look::now();
  }}.join();
  CHECK(first.address == nullptr);
  CHECK(second.address != nullptr);
  CHECK(second.size_bytes >= std::size_t{64} * 1024);
  CHECK(within.address != nullptr);
  CHECK(within.address != second.address);
  CHECK(after_inner.address == second.address);
  CHECK(after.address == nullptr);
}

}  // namespace
