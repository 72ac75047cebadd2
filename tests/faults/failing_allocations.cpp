// The replaced operators. The counters are global since the operators are.
#include "tests/faults/failing_allocations.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::int64_t> in_use{0};
std::atomic<bool> active{false};
std::atomic<std::uint64_t> asked{0};
std::atomic<std::uint64_t> first_to_fail{0};
std::atomic<std::uint64_t> end_of_failing{0};

bool fails() noexcept {
  if (!active.load(std::memory_order_acquire)) return false;
  const std::uint64_t number = asked.fetch_add(1, std::memory_order_relaxed) + 1;
  return number >= first_to_fail.load(std::memory_order_relaxed) &&
      number < end_of_failing.load(std::memory_order_relaxed);
}

void* allocate(std::size_t size_bytes, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  const std::size_t size = size_bytes == 0 ? 1 : size_bytes;
  void* const block = alignment <= alignof(std::max_align_t)
      ? std::malloc(size)
      : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (block != nullptr) in_use.fetch_add(1, std::memory_order_relaxed);
  return block;
}

void* allocate_or_throw(std::size_t size_bytes, std::size_t alignment) {
  void* const block = allocate(size_bytes, alignment);
  if (block == nullptr) throw std::bad_alloc{};
  return block;
}

void release(void* block) noexcept {
  if (block == nullptr) return;
  in_use.fetch_sub(1, std::memory_order_relaxed);
  std::free(block);
}

constexpr std::size_t plain = alignof(std::max_align_t);
constexpr std::size_t value_of(std::align_val_t alignment) noexcept { return static_cast<std::size_t>(alignment); }

}  // namespace

void* operator new(std::size_t size) { return allocate_or_throw(size, plain); }
void* operator new[](std::size_t size) { return allocate_or_throw(size, plain); }
void* operator new(std::size_t size, std::align_val_t at) { return allocate_or_throw(size, value_of(at)); }
void* operator new[](std::size_t size, std::align_val_t at) { return allocate_or_throw(size, value_of(at)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, plain); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, plain); }
void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t) noexcept { release(block); }
void operator delete(void* block, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { release(block); }

namespace test {

failing_allocations::failing_allocations(std::uint64_t first, std::uint64_t count) noexcept {
  asked.store(0, std::memory_order_relaxed);
  first_to_fail.store(first, std::memory_order_relaxed);
  end_of_failing.store(first > none - count ? none : first + count, std::memory_order_relaxed);
  active.store(true, std::memory_order_release);
}

failing_allocations::~failing_allocations() { active.store(false, std::memory_order_release); }

std::uint64_t failing_allocations::seen() noexcept { return asked.load(std::memory_order_relaxed); }

std::int64_t blocks_in_use() noexcept { return in_use.load(std::memory_order_relaxed); }

}  // namespace test
