// Tested: stacks read from outside: that all calls are found, whatever the compiler made of them, and that rubbish ends
// in a short answer and never in a fault.
#include <cstring>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "scheduler/context.hpp"
#include "scheduler/fiber.hpp"
#include "scheduler/stack.hpp"
#include "scheduler/stack_trace.hpp"
#include "scheduler/symbols.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/has_stacks.hpp"

using namespace roving::detail;
using Catch::Matchers::Contains;

namespace {

using roving_test::has_stacks;

// A fiber that is left in the middle of some calls.
struct parked_fiber {
  parked_fiber() : memory{pool.take(default_stack_size_bytes)} {
    anchor = thread_anchor::of_this_thread();
    outside.adopt_thread();
    inside.prepare(memory, &main, this);
    outside.switch_to(inside, anchor, nullptr, nullptr);
  }
  ~parked_fiber() {
    outside.switch_to(inside, anchor, nullptr, nullptr);
    pool.give_back(memory);
  }
  void leave() { inside.switch_to(outside, anchor, nullptr, nullptr); }

  static void main(void* argument, thread_anchor& anchor) noexcept;

  stack_pool pool;
  stack& memory;
  thread_anchor anchor;
  context outside;
  context inside;
};

[[gnu::noinline]] void innermost_call(parked_fiber& of) {
  of.leave();
  asm volatile("");  // no tail call
}

// Moves its stack pointer by what the compiler does not know, so that the frame hangs on another register.
[[gnu::noinline]] void call_with_a_variable_frame(parked_fiber& of, std::size_t size) {
  auto* const room = static_cast<char*>(__builtin_alloca(size));
  asm volatile("" : : "r"(room) : "memory");
  innermost_call(of);
  asm volatile("" : : "r"(room) : "memory");
}

// Has a stack that is aligned more than calls are.
[[gnu::noinline]] void call_with_an_aligned_frame(parked_fiber& of) {
  alignas(128) char room[256];
  asm volatile("" : : "r"(&room) : "memory");
  call_with_a_variable_frame(of, 1000);
  asm volatile("" : : "r"(&room) : "memory");
}

[[gnu::noinline]] void deep_call(parked_fiber& of, int depth) {
  if (depth == 0)
    call_with_an_aligned_frame(of);
  else
    deep_call(of, depth - 1);
  asm volatile("");
}

void parked_fiber::main(void* argument, thread_anchor& anchor) noexcept {
  auto& self = *static_cast<parked_fiber*>(argument);
  deep_call(self, 5);
  self.inside.leave_for(self.outside, anchor, nullptr, nullptr);
}

std::string text_of(const stack_copy& copy) {
  symbol_table names;
  std::string text;
  for (const std::uintptr_t call : calls_on(copy)) text += names.describe(call) + '\n';
  return text;
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("stack trace: all calls of a parked fiber are found by name", "[scheduler][stack_trace]") {
  if (!has_stacks) return;
  parked_fiber fiber;
  stack_copy copy;
  REQUIRE(fiber.inside.copy_stack(fiber.memory, copy));
  const std::string text = text_of(copy);
  INFO(text);
  CHECK(count(text, "innermost_call") == 1);
  CHECK(count(text, "call_with_a_variable_frame") == 1);
  CHECK(count(text, "call_with_an_aligned_frame") == 1);
  CHECK(count(text, "deep_call") >= 1);  // compilers turn some of it into a loop
  CHECK(count(text, "parked_fiber::main") == 1);
  CHECK(text.find("innermost_call") < text.find("call_with_a_variable_frame"));
  CHECK(text.find("call_with_an_aligned_frame") < text.find("deep_call"));
  CHECK(text.find("deep_call") < text.find("parked_fiber::main"));
}

TEST_CASE("stack trace: a context that runs has none", "[scheduler][stack_trace]") {
  parked_fiber fiber;
  stack_copy copy;
  CHECK_FALSE(fiber.outside.copy_stack(fiber.memory, copy));
}

TEST_CASE("stack trace: a copy that was cut ends where it was cut", "[scheduler][stack_trace]") {
  if (!has_stacks) return;
  parked_fiber fiber;
  stack_copy copy;
  REQUIRE(fiber.inside.copy_stack(fiber.memory, copy));
  const std::vector<std::uintptr_t> whole = calls_on(copy);
  const std::size_t all = copy.size_bytes;
  for (std::size_t size = 0; size <= all; size += 8) {
    copy.size_bytes = size;
    const std::vector<std::uintptr_t> part = calls_on(copy);
    REQUIRE(part.size() <= whole.size());
    REQUIRE(std::equal(part.begin(), part.end(), whole.begin()));
  }
}

TEST_CASE("stack trace: rubbish is no fault", "[scheduler][stack_trace]") {
  if (!has_stacks) return;
  parked_fiber fiber;
  stack_copy good;
  REQUIRE(fiber.inside.copy_stack(fiber.memory, good));
  std::mt19937_64 random{7};
  stack_copy bad;
  std::size_t calls = 0;
  for (int round = 0; round < 3000; ++round) {
    bad.registers = good.registers;
    bad.size_bytes = good.size_bytes;
    std::memcpy(bad.memory.get(), good.memory.get(), good.size_bytes);
    for (int i = 0; i < 8; ++i) {
      const std::size_t words = good.size_bytes / sizeof(std::uint64_t);
      const std::uint64_t value = round % 2 == 0 ? random() : good.registers[stack_copy::rsp] + random() % 4096;
      std::memcpy(bad.memory.get() + random() % words * sizeof value, &value, sizeof value);
    }
    if (round % 3 == 0) bad.registers[random() % bad.registers.size()] = random();
    if (round % 5 == 0)  // another place in the same code
      bad.registers[stack_copy::rip] += random() % 4096;
    calls += calls_on(bad).size();
  }
  CHECK(calls > 0);
}

TEST_CASE("stack trace: an address in no file has no name", "[scheduler][stack_trace]") {
  symbol_table names;
  CHECK(names.describe(0) == "?");
  int on_the_stack = 0;
  CHECK(names.describe(reinterpret_cast<std::uintptr_t>(&on_the_stack)) == "?");
}
