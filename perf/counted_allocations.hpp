// Counts what comes from operator new. Replaces it in the program that includes this: in one source file of it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace roving_perf {

inline std::atomic<std::uint64_t> allocations_so_far{0};

/// Any thread.
[[nodiscard]] inline std::uint64_t allocations() noexcept { return allocations_so_far.load(std::memory_order_relaxed); }

inline void* counted_allocation(std::size_t size_bytes, std::size_t alignment) {
  allocations_so_far.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (size_bytes + alignment - 1) / alignment * alignment;
  void* const memory = alignment <= alignof(std::max_align_t) ? std::malloc(size_bytes != 0 ? size_bytes : 1)
                                                              : std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}

}  // namespace roving_perf

// All others call these.
void* operator new(std::size_t size_bytes) { return roving_perf::counted_allocation(size_bytes, 1); }
void* operator new(std::size_t size_bytes, std::align_val_t alignment) {
  return roving_perf::counted_allocation(size_bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
