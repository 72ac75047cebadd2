// Tested: the pool of stacks and a shard's cache of them, alone. Faults of the kernel are injected by the table of
// calls; what the kernel itself does with guards and pages is looked at too.

#include "scheduler/stack.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using roving::detail::default_stack_size_bytes;
using roving::detail::maximum_stack_size_bytes;
using roving::detail::memory_calls;
using roving::detail::memory_range;
using roving::detail::minimum_stack_size_bytes;
using roving::detail::stack;
using roving::detail::stack_cache;
using roving::detail::stack_counters;
using roving::detail::stack_exhausted;
using roving::detail::stack_pool;
using roving::detail::stack_size_class;
using roving::detail::stack_size_classes;

constexpr std::size_t small = 2 * minimum_stack_size_bytes;

// The system's calls, with faults. One test at a time: the table's functions take no argument of ours.
struct faults {
  static inline std::size_t largest_map_bytes = SIZE_MAX;
  static inline int guard_error = 0;
  static inline int protect_error = 0;
  static inline bool gives_back = true;
  static inline int maps = 0;
  static inline int unmaps = 0;
  static inline int give_backs = 0;

  faults() {
    largest_map_bytes = SIZE_MAX;
    guard_error = protect_error = 0;
    gives_back = true;
    maps = unmaps = give_backs = 0;
  }

  static const memory_calls& system() { return memory_calls::of_the_system(); }
  static constexpr memory_calls calls{
      .map =
          [](std::size_t size_bytes, void** at) noexcept {
            if (size_bytes > largest_map_bytes) return ENOMEM;
            ++maps;
            return system().map(size_bytes, at);
          },
      .unmap =
          [](void* address, std::size_t size_bytes) noexcept {
            ++unmaps;
            return system().unmap(address, size_bytes);
          },
      .install_guard =
          [](void* address, std::size_t size_bytes) noexcept {
            return guard_error != 0 ? guard_error : system().install_guard(address, size_bytes);
          },
      .protect =
          [](void* address, std::size_t size_bytes) noexcept {
            return protect_error != 0 ? protect_error : system().protect(address, size_bytes);
          },
      .give_back =
          [](std::span<const memory_range> ranges) noexcept {
            ++give_backs;
            return gives_back ? system().give_back(ranges) : ranges.size();
          },
  };
};

std::vector<stack*> take(stack_pool& pool, std::size_t count, std::size_t size_bytes) {
  std::vector<stack*> taken;
  for (std::size_t i = 0; i < count; ++i) taken.push_back(&pool.take(size_bytes));
  return taken;
}

void give_back(stack_pool& pool, const std::vector<stack*>& stacks) {
  for (stack* each : stacks) pool.give_back(*each);
}

// What taking one throws: its text, or "none".
std::string refusal(stack_pool& pool, std::size_t size_bytes) {
  try {
    pool.give_back(pool.take(size_bytes));
    return "none";
  } catch (const stack_exhausted& error) {
    return error.code().message() + ": " + error.what();
  }
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("stack_size_class: sizes are rounded up to powers of two", "[scheduler][stack]") {
  CHECK(stack_size_class(0) == 0);
  CHECK(stack_size_class(minimum_stack_size_bytes) == 0);
  CHECK(stack_size_class(minimum_stack_size_bytes + 1) == 1);
  CHECK(stack_size_class(2 * minimum_stack_size_bytes) == 1);
  CHECK(stack_size_class(2 * minimum_stack_size_bytes + 1) == 2);
  CHECK(stack_size_class(maximum_stack_size_bytes) == stack_size_classes - 1);
  CHECK(stack_size_class(maximum_stack_size_bytes + 1) == stack_size_classes);
  CHECK(stack_size_class(SIZE_MAX) == stack_size_classes);
}

TEST_CASE("stack_pool: a stack has the size that was asked for and can be written from end to end",
          "[scheduler][stack]") {
  const std::size_t asked = GENERATE(std::size_t{1}, small, small + 1, default_stack_size_bytes);
  stack_pool pool;
  stack& taken = pool.take(asked);
  CHECK(taken.size_bytes >= asked);
  CHECK(taken.limit < taken.top);
  CHECK(static_cast<std::size_t>(taken.top - taken.limit) + 1152 >= taken.size_bytes);
  CHECK(reinterpret_cast<std::uintptr_t>(taken.top) % 64 == 0);
  CHECK(taken.owner == nullptr);
  std::memset(taken.limit, 1, static_cast<std::size_t>(taken.top - taken.limit));
  pool.give_back(taken);
  CHECK(pool.counters().out == 0);
}

TEST_CASE("stack_pool: the largest size can be had, and no larger one", "[scheduler][stack]") {
  stack_pool pool;
  pool.give_back(pool.take(maximum_stack_size_bytes));
  CHECK_THROWS_AS(pool.take(maximum_stack_size_bytes + 1), std::invalid_argument);
  CHECK(pool.counters().out == 0);
}

TEST_CASE("stack_pool: a stack that was given back is taken next, with its pages", "[scheduler][stack]") {
  stack_pool pool;
  stack& first = pool.take(small);
  first.limit[0] = std::byte{42};
  first.owner = &pool;
  pool.give_back(first);
  CHECK(pool.counters().warm == 1);
  stack& again = pool.take(small);
  CHECK(&again == &first);
  CHECK(again.limit[0] == std::byte{42});
  CHECK(again.owner == nullptr);
  pool.give_back(again);
  CHECK(pool.counters().made == 1);
}

TEST_CASE("stack_pool: beyond the bound, pages go back to the kernel and slots are used again", "[scheduler][stack]") {
  constexpr std::size_t count = 100;
  stack_pool pool{{.warm_stacks_at_most = 10}};
  std::vector<stack*> stacks = take(pool, count, small);
  for (stack* each : stacks) each->limit[0] = std::byte{42};
  // As one list, as a cache gives them.
  for (std::size_t i = 0; i < count; ++i) {
    stacks[i]->now = stack::state::idle;
    stacks[i]->next = i + 1 < count ? stacks[i + 1] : nullptr;
  }
  pool.give_back_list(stacks[0]);
  stack_counters counters = pool.counters();
  CHECK(counters.out == 0);
  CHECK(counters.warm == 10);
  CHECK(counters.cold == 90);

  std::vector<stack*> again = take(pool, count, small);
  const auto dirty = std::count_if(again.begin(), again.end(), [](stack* s) { return s->limit[0] != std::byte{}; });
  CHECK(dirty == 10);
  CHECK(std::set<stack*>(again.begin(), again.end()) == std::set<stack*>(stacks.begin(), stacks.end()));
  counters = pool.counters();
  CHECK(counters.made == count);
  CHECK(counters.warm == 0);
  CHECK(counters.cold == 0);
  give_back(pool, again);
}

TEST_CASE("stack_pool: what a cache gives up at a time goes back to the kernel in two calls", "[scheduler][stack]") {
  const faults none;
  stack_pool pool{{.warm_stacks_at_most = 0, .calls = &faults::calls}};
  stack_cache cache{pool};
  std::vector<stack*> stacks = take(pool, stack_cache::kept_at_most + 1, small);
  for (stack* each : stacks) cache.give_back(*each);
  CHECK(pool.counters().cold == stack_cache::kept_at_most / 2 + 1);
  CHECK(faults::give_backs == 2);
}

TEST_CASE("memory_calls: where the kernel refuses some pages, all others are taken", "[scheduler][stack]") {
  constexpr std::size_t count = 5;
  constexpr std::size_t size_bytes = 65536;  // a page or more
  const std::size_t unmapped = GENERATE(0U, 2U, 4U);
  const memory_calls& calls = memory_calls::of_the_system();
  std::array<memory_range, count> ranges{};
  for (memory_range& each : ranges) {
    each.size_bytes = size_bytes;
    REQUIRE(calls.map(size_bytes, &each.address) == 0);
    std::memset(each.address, 1, size_bytes);
  }
  CHECK(calls.unmap(ranges[unmapped].address, size_bytes) == 0);
  CHECK(calls.give_back(ranges) == 1);
  for (std::size_t i = 0; i < count; ++i) {
    if (i == unmapped) continue;
#if defined(__linux__)
    const auto* const bytes = static_cast<const unsigned char*>(ranges[i].address);
    CHECK(std::count(bytes, bytes + size_bytes, 1) == 0);
#endif
    CHECK(calls.unmap(ranges[i].address, size_bytes) == 0);
  }
}

TEST_CASE("stack_pool: tops are staggered over sixteen cache lines", "[scheduler][stack]") {
  stack_pool pool;
  const std::vector<stack*> stacks = take(pool, 64, default_stack_size_bytes);
  for (std::size_t first = 0; first < stacks.size(); first += 16) {
    std::set<std::uintptr_t> lines;
    for (std::size_t i = first; i < first + 16; ++i)
      lines.insert(reinterpret_cast<std::uintptr_t>(stacks[i]->top) / 64 % 16);
    CHECK(lines.size() == 16);
  }
  give_back(pool, stacks);
}

TEST_CASE("stack_pool: every reservation is released in the end", "[scheduler][stack]") {
  const faults none;
  {
    stack_pool pool{{.reservation_bytes = 4 * small, .calls = &faults::calls}};
    give_back(pool, take(pool, 20, small));
    CHECK(pool.counters().reservations == static_cast<std::size_t>(faults::maps));
    CHECK(faults::maps > 4);
  }
  CHECK(faults::unmaps == faults::maps);
}

TEST_CASE("stack_pool: an address in a guard leads to the stack above it, while that is in use", "[scheduler][stack]") {
  stack_pool pool{{.reservation_bytes = 8 * small}};
  const std::vector<stack*> stacks = take(pool, 20, small);
  const std::byte outside{};
  int wrong = 0;
  for (const stack* each : stacks) {
    if (pool.overflowed_at(each->limit - 1) != each) ++wrong;
    if (pool.overflowed_at(each->limit - 4096) != each) ++wrong;
    if (pool.overflowed_at(each->limit) != nullptr) ++wrong;
    if (pool.overflowed_at(each->top) != nullptr) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(pool.overflowed_at(&outside) == nullptr);
  CHECK(pool.overflowed_at(nullptr) == nullptr);
  const std::byte* const guard = stacks[3]->limit - 1;
  give_back(pool, stacks);
  CHECK(pool.overflowed_at(guard) == nullptr);
}

TEST_CASE("stack_pool: no address space is reported with what was asked, and nothing is lost", "[scheduler][stack]") {
  const faults none;
  stack_pool pool{{.calls = &faults::calls}};
  faults::largest_map_bytes = 0;
  for (int i = 0; i < 3; ++i) {
    const std::string text = refusal(pool, small);
    CHECK(contains(text, "no address space for a stack of " + std::to_string(small) + " bytes"));
    CHECK(contains(text, "Cannot allocate memory"));
  }
  CHECK(pool.counters().reservations == 0);
  CHECK(pool.counters().out == 0);
  faults::largest_map_bytes = SIZE_MAX;
  CHECK(refusal(pool, small) == "none");
}

TEST_CASE("stack_pool: where a large reservation can't be had, a smaller one is", "[scheduler][stack]") {
  const faults none;
  const std::size_t slots = GENERATE(1U, 2U, 20U);
  faults::largest_map_bytes = slots * (small + 65536);
  stack_pool pool{{.calls = &faults::calls}};
  const std::vector<stack*> stacks = take(pool, 40, small);
  CHECK(pool.counters().reserved_bytes <= pool.counters().reservations * faults::largest_map_bytes);
  give_back(pool, stacks);
}

TEST_CASE("stack_pool: kernels without guards get protected pages", "[scheduler][stack]") {
  const faults none;
  faults::guard_error = EINVAL;
  stack_pool pool{{.calls = &faults::calls}};
  const std::vector<stack*> stacks = take(pool, 10, small);
  CHECK(pool.counters().protected_guards == 10);
  CHECK(pool.overflowed_at(stacks[5]->limit - 1) == stacks[5]);
  give_back(pool, stacks);
  give_back(pool, take(pool, 10, small));
  CHECK(pool.counters().protected_guards == 10);  // a guard is made once
}

TEST_CASE("stack_pool: a guard that can't be protected names the limit, and no slot is lost", "[scheduler][stack]") {
  const faults none;
  faults::guard_error = EINVAL;
  stack_pool pool{{.calls = &faults::calls}};
  std::vector<stack*> stacks = take(pool, 5, small);
  faults::protect_error = ENOMEM;
  for (int i = 0; i < 3; ++i) {
    const std::string text = refusal(pool, small);
    CHECK(contains(text, "vm.max_map_count"));
    CHECK(contains(text, "5 guards exist"));
  }
  CHECK(pool.counters().made == 5);
  CHECK(pool.counters().out == 5);
  faults::protect_error = 0;
  stacks.push_back(&pool.take(small));
  CHECK(pool.counters().made == 6);
  CHECK(pool.counters().protected_guards == 6);
  give_back(pool, stacks);
}

TEST_CASE("stack_pool: a guard that can't be installed for want of memory is an error, not a way round",
          "[scheduler][stack]") {
  const faults none;
  faults::guard_error = ENOMEM;
  stack_pool pool{{.calls = &faults::calls}};
  CHECK(contains(refusal(pool, small), "can't be installed"));
  CHECK(pool.counters().protected_guards == 0);
  CHECK(pool.counters().out == 0);
  faults::guard_error = 0;
  CHECK(refusal(pool, small) == "none");
}

TEST_CASE("stack_pool: pages that the kernel does not take back are counted, and the stack is used on",
          "[scheduler][stack]") {
  const faults none;
  faults::gives_back = false;
  stack_pool pool{{.warm_stacks_at_most = 0, .calls = &faults::calls}};
  stack* const first = &pool.take(small);
  pool.give_back(*first);
  CHECK(pool.counters().give_back_failures == 1);
  CHECK(pool.counters().cold == 1);
  stack& again = pool.take(small);
  CHECK(&again == first);
  CHECK(again.now == stack::state::in_use);
  CHECK(again.size_bytes == small);
  pool.give_back(again);
}

TEST_CASE("stack_pool: a hundred thousand guarded stacks at once", "[scheduler][stack]") {
  constexpr bool sanitized = roving::detail::address_sanitizer || roving::detail::thread_sanitizer;
  stack_pool pool;
  pool.give_back(pool.take(std::size_t{64} * 1024));
  const bool costs_mappings = pool.counters().protected_guards != 0;
  const std::size_t count = sanitized ? 500 : costs_mappings ? 10'000 : 100'000;
  const std::vector<stack*> stacks = take(pool, count, std::size_t{64} * 1024);
  CHECK(std::set<stack*>(stacks.begin(), stacks.end()).size() == count);
  CHECK(pool.counters().out == count);
  give_back(pool, stacks);
  CHECK(pool.counters().out == 0);
  CHECK(pool.counters().made == count);
}

// The real limit of the kernel, where it is the usual one.
TEST_CASE("stack_pool: at the kernel's limit of mappings the error says so, and what there is goes on working",
          "[scheduler][stack]") {
  if (roving::detail::address_sanitizer || roving::detail::thread_sanitizer) return;  // they need mappings themselves
  std::size_t limit = 0;
  std::ifstream{"/proc/sys/vm/max_map_count"} >> limit;
  if (limit == 0 || limit > 70'000) return;
  const faults none;
  faults::guard_error = EINVAL;
  stack_pool pool{{.calls = &faults::calls}};
  std::vector<stack*> stacks;
  stacks.reserve(limit);
  std::string text = "none";
  while (stacks.size() < limit && text == "none") {
    try {
      stacks.push_back(&pool.take(minimum_stack_size_bytes));
    } catch (const stack_exhausted& error) {
      text = error.what();
    }
  }
  const std::size_t had = stacks.size();
  give_back(pool, stacks);
  CHECK(contains(text, "vm.max_map_count"));
  CHECK(had > limit / 4);
  CHECK(pool.counters().out == 0);
  CHECK(pool.counters().made == had);
  give_back(pool, take(pool, had, minimum_stack_size_bytes));
  CHECK(pool.counters().made == had);
}

TEST_CASE("stack_cache: the newest is taken first, per size class", "[scheduler][stack]") {
  stack_pool pool;
  stack_cache cache{pool};
  stack& a = cache.take(small);
  stack& b = cache.take(small);
  stack& large = cache.take(2 * small);
  large.owner = &pool;
  cache.give_back(a);
  cache.give_back(large);
  cache.give_back(b);
  CHECK(cache.kept() == 3);
  CHECK(large.owner == nullptr);
  CHECK(&cache.take(small) == &b);
  CHECK(&cache.take(small) == &a);
  CHECK(&cache.take(2 * small) == &large);
  cache.give_back(a);
  cache.give_back(b);
  cache.give_back(large);
}

TEST_CASE("stack_cache: beyond its bound the oldest half goes to the pool", "[scheduler][stack]") {
  stack_pool pool;
  stack_cache cache{pool};
  std::vector<stack*> stacks;
  for (std::size_t i = 0; i <= stack_cache::kept_at_most; ++i) stacks.push_back(&cache.take(small));
  for (std::size_t i = 0; i < stack_cache::kept_at_most; ++i) cache.give_back(*stacks[i]);
  CHECK(cache.kept() == stack_cache::kept_at_most);
  CHECK(pool.counters().warm == 0);
  cache.give_back(*stacks.back());
  CHECK(cache.kept() == stack_cache::kept_at_most / 2);
  CHECK(pool.counters().warm == stack_cache::kept_at_most / 2 + 1);
  CHECK(pool.counters().out == cache.kept());
  CHECK(&cache.take(small) == stacks.back());
  cache.give_back(*stacks.back());
}

TEST_CASE("stack_cache: trim gives up what was not needed since the last time, and no more", "[scheduler][stack]") {
  stack_pool pool;
  stack_cache cache{pool};
  std::vector<stack*> stacks;
  for (int i = 0; i < 10; ++i) stacks.push_back(&cache.take(small));
  for (stack* each : stacks) cache.give_back(*each);
  cache.trim();  // all ten were needed
  CHECK(cache.kept() == 10);

  std::vector<stack*> needed;
  for (int i = 0; i < 4; ++i) needed.push_back(&cache.take(small));
  for (stack* each : needed) cache.give_back(*each);
  cache.trim();
  CHECK(cache.kept() == 4);
  CHECK(pool.counters().warm == 6);
  CHECK(&cache.take(small) == needed.back());
  cache.give_back(*needed.back());

  cache.trim();
  CHECK(cache.kept() == 1);
  cache.trim();
  CHECK(cache.kept() == 0);
}

TEST_CASE("stack_cache: errors are the pool's", "[scheduler][stack]") {
  const faults none;
  stack_pool pool{{.calls = &faults::calls}};
  stack_cache cache{pool};
  faults::largest_map_bytes = 0;
  CHECK_THROWS_AS(cache.take(small), stack_exhausted);
  CHECK_THROWS_AS(cache.take(maximum_stack_size_bytes + 1), std::invalid_argument);
  faults::largest_map_bytes = SIZE_MAX;
  cache.give_back(cache.take(small));
}

TEST_CASE("stack_cache: stacks that end on another shard stay whole", "[scheduler][stack]") {
  constexpr int rounds = 2000;
  constexpr std::size_t held = 8;
  stack_pool pool{{.reservation_bytes = 64 * small, .warm_stacks_at_most = 16}};
  const unsigned threads = GENERATE(2U, 4U);
  std::vector<int> wrong(threads, 0);
  {
    std::vector<std::thread> workers;
    for (unsigned self = 0; self < threads; ++self) {
      workers.emplace_back([&, self] {
        stack_cache mine{pool};
        for (int round = 0; round < rounds; ++round) {
          std::array<stack*, held> taken{};
          for (stack*& each : taken) {
            each = &mine.take(small);
            if (each->owner != nullptr) ++wrong[self];
            each->owner = &wrong[self];
            each->limit[0] = static_cast<std::byte>(self);
          }
          for (stack* each : taken) {
            if (each->owner != &wrong[self] || each->limit[0] != static_cast<std::byte>(self)) ++wrong[self];
            if (round % 2 == 0) {
              mine.give_back(*each);
            } else {
              pool.give_back(*each);  // to whoever takes it next
            }
          }
          if (round % 64 == 0) mine.trim();
        }
      });
    }
    for (std::thread& each : workers) each.join();
  }
  CHECK(std::all_of(wrong.begin(), wrong.end(), [](int count) { return count == 0; }));
  CHECK(pool.counters().out == 0);
  CHECK(pool.counters().made == pool.counters().warm + pool.counters().cold);
  CHECK(pool.counters().made <= threads * (held + stack_cache::kept_at_most));
}

}  // namespace
