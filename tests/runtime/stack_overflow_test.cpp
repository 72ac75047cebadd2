// Tested: that a task which overflows its stack is named, end to end, wherever it runs. What the report is made of is
// tested in tests/scheduler/overflow_test.cpp.
#include <sys/resource.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <string>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"

using namespace roving_test;

namespace {

[[gnu::noinline]] int recurse(int depth) {
  std::array<volatile char, 512> frame;
  frame[0] = static_cast<char>(depth);
  const int below = depth < 1'000'000 ? recurse(depth + 1) : 0;
  return below + frame[0];
}

void overflow() { static_cast<void>(recurse(0)); }

roving::attributes deep(roving::placement where) {
  roving::attributes what;
  what.placement = where;
  what.name = "deep";
  what.stack_size_bytes = 128 * 1024;
  return what;
}

void tell_line(unsigned line) {
  std::fprintf(stderr, "%u\n", line);
  std::fflush(stderr);
}

template <class Main>
void run_to_its_fault(unsigned shards, Main main, roving::spawn_site site = roving::spawn_site::current()) {
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  roving::run({.shards = shards}, main, site);
}

// The hidden test cases. Each tells the line on which it spawns, and overflows.
TEST_CASE("overflow of a pinned task", "[.child]") {
  if (!begin_child()) return;
  run_to_its_fault(2, [] {
    tell_line(roving::spawn_site::current().line + 1);
    auto task = roving::spawn(deep(roving::on_shard(1)), [] { overflow(); });
    task.get();
  });
}

TEST_CASE("overflow of a roving task that has been parked", "[.child]") {
  if (!begin_child()) return;
  run_to_its_fault(4, [] {
    roving::event go;
    const auto body = [&] {
      go.wait();
      overflow();
    };
    tell_line(roving::spawn_site::current().line + 1);
    auto task = roving::spawn(deep(roving::anywhere), body);
    wait_until_waiting(task);
    go.set();
    task.get();
  });
}

TEST_CASE("overflow of an eager task", "[.child]") {
  if (!begin_child()) return;
  run_to_its_fault(1, [] {
    roving::attributes eager = deep(roving::here);
    eager.eager = true;
    tell_line(roving::spawn_site::current().line + 1);
    auto task = roving::spawn(eager, [] { overflow(); });
    task.get();
  });
}

TEST_CASE("overflow of the main task", "[.child]") {
  if (!begin_child()) return;
  const auto main = [] { overflow(); };
  tell_line(roving::spawn_site::current().line + 1);
  run_to_its_fault(1, main);
}

TEST_CASE("C138 stack overflow: it is reported with the task's name and where it was spawned, and ends by the signal",
          "[overflow]") {
  if (roving::detail::address_sanitizer || roving::detail::thread_sanitizer) return;  // they report it themselves
  struct expectation {
    std::string child;
    std::string task = "deep";
    std::string stack_size_bytes = "131072";
  };
  const expectation expected =
      GENERATE(expectation{"overflow of a pinned task"}, expectation{"overflow of a roving task that has been parked"},
               expectation{"overflow of an eager task"}, expectation{"overflow of the main task", "Task-1", "262144"});
  child_process child{expected.child};
  const std::string end = child.end();
  const std::string all = child.text();
  const std::string line = all.substr(0, all.find('\n'));
  // Without the folder of the source, which depends on where the build is.
  const std::string first_half = "roving: stack overflow in task \"" + expected.task + "\" (spawned at ";
  const std::string second_half = "stack_overflow_test.cpp:" + line + "), stack of " + expected.stack_size_bytes +
      " bytes; use attributes{.stack_size_bytes = ...}\n";
  INFO(all);
  CHECK(end == "signal " + std::to_string(SIGSEGV));
  CHECK(all.find(line + "\n" + first_half) == 0);
  CHECK(all.find(second_half) == all.size() - second_half.size());
}

}  // namespace
