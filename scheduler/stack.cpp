// Stacks. The idea and the invariants are in stack.hpp.

#include "scheduler/stack.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>
#if defined(__linux__)
#  include <sys/syscall.h>
#endif

#include "scheduler/context.hpp"

#if __has_include(<valgrind/valgrind.h>)
#  include <valgrind/valgrind.h>
#  define ROVING_REGISTER_STACK(limit, top) VALGRIND_STACK_REGISTER(limit, top)
#  define ROVING_DEREGISTER_STACK(id) VALGRIND_STACK_DEREGISTER(id)
#else
#  define ROVING_REGISTER_STACK(limit, top) 0U
#  define ROVING_DEREGISTER_STACK(id) static_cast<void>(id)
#endif

namespace roving::detail {
namespace {

constexpr std::size_t cache_line_bytes = 64;
constexpr std::size_t staggered_ways = 16;

#if defined(__linux__)
constexpr int guard_install = 102;   // MADV_GUARD_INSTALL, Linux 6.13; older headers do not name it
constexpr int own_process = -10000;  // PIDFD_SELF, of newer kernels (6.18 has it); likewise
// Not MADV_FREE: its pages count as ours until memory is short, and people look at that number.
constexpr int give_back_advice = MADV_DONTNEED;
#else
constexpr int give_back_advice = MADV_FREE;  // MADV_DONTNEED keeps the pages here
#endif

#if defined(MAP_NORESERVE)
constexpr int unreserved = MAP_NORESERVE;
#else
constexpr int unreserved = 0;
#endif
#if defined(MAP_STACK)
constexpr int for_stacks = MAP_STACK;  // on Linux: no huge page behind a stack that needs one small one
#else
constexpr int for_stacks = 0;
#endif

std::size_t page_size_bytes() noexcept {
  const long size = ::sysconf(_SC_PAGESIZE);
  ROVING_ASSERT(size > 0);
  return static_cast<std::size_t>(size);
}

int error_of(int result) noexcept { return result == 0 ? 0 : current_errno(); }

// All in one call: a third of what one for each costs, most of which is the flush of translations. False where the
// kernel does not do this, or not with all of them; they may all be given back once more then.
bool give_back_together([[maybe_unused]] std::span<const memory_range> ranges) noexcept {
#if defined(__linux__) && defined(SYS_process_madvise)
  std::size_t size_bytes = 0;
  for (const memory_range& each : ranges) size_bytes += each.size_bytes;
  return ::syscall(SYS_process_madvise, own_process, ranges.data(), ranges.size(), give_back_advice, 0U) ==
      static_cast<long>(size_bytes);
#else
  return false;
#endif
}

// The record of the slot that starts at `slot`.
std::byte* record_of(std::byte* slot, std::size_t stride_bytes, std::uint32_t number) noexcept {
  return slot + stride_bytes - (number % staggered_ways) * cache_line_bytes - sizeof(stack);
}

}  // namespace

const memory_calls& memory_calls::of_the_system() noexcept {
  static constexpr memory_calls calls{
      .map =
          [](std::size_t size_bytes, void** at) noexcept {
            *at = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | unreserved | for_stacks, -1, 0);
            return *at == MAP_FAILED ? current_errno() : 0;
          },
      .unmap = [](void* address, std::size_t size_bytes) noexcept { return error_of(::munmap(address, size_bytes)); },
      .install_guard =
          []([[maybe_unused]] void* address, [[maybe_unused]] std::size_t size_bytes) noexcept {
#if defined(__linux__)
            return error_of(::madvise(address, size_bytes, guard_install));
#else
            return EINVAL;
#endif
          },
      .protect = [](void* address,
                    std::size_t size_bytes) noexcept { return error_of(::mprotect(address, size_bytes, PROT_NONE)); },
      .give_back =
          [](std::span<const memory_range> ranges) noexcept {
            if (ranges.size() > 1 && give_back_together(ranges)) return std::size_t{0};
            std::size_t refused = 0;
            for (const memory_range& each : ranges)
              if (::madvise(each.address, each.size_bytes, give_back_advice) != 0) ++refused;
            return refused;
          },
  };
  return calls;
}

// ---- stack_pool -----------------------------------------------------------------------------------------------

struct stack_pool::reservation {
  reservation* older;
  std::byte* begin;
  std::size_t size_bytes;
  std::size_t stride_bytes;
  std::size_t slots;
  std::uint32_t first_number;          // numbers run on over the reservations of a class
  std::atomic<std::size_t> cut_slots;  // written under the lock, read by overflowed_at()
};

stack_pool::stack_pool(const stack_pool_options& options) : options_(options), page_bytes_(page_size_bytes()) {}

stack_pool::~stack_pool() {
  ROVING_ASSERT(counters_.out == 0);  // a fiber, or a cache, has outlived its runtime
  for (shelf& each : shelves_) {
    for (stack* warm = each.newest_warm; warm != nullptr; warm = warm->next) {
      destroy_sanitizer_fiber(warm->tsan_fiber);
      ROVING_DEREGISTER_STACK(warm->valgrind_id);
    }
  }
  reservation* at = newest_reservation_.load(std::memory_order_relaxed);  // nobody else is left
  while (at != nullptr) {
    options_.calls->unmap(at->begin, at->size_bytes);
    delete std::exchange(at, at->older);
  }
}

std::size_t stack_pool::stride_bytes(unsigned size_class) const noexcept {
  return (minimum_stack_size_bytes << size_class) + page_bytes_;
}

stack& stack_pool::take(std::size_t size_bytes) {
  const unsigned size_class = stack_size_class(size_bytes);
  if (size_class >= stack_size_classes) {
    throw std::invalid_argument("roving: a stack of " + std::to_string(size_bytes) + " bytes was asked for; at most " +
                                std::to_string(maximum_stack_size_bytes) + " can be had");
  }
  const std::scoped_lock hold{mutex_};
  shelf& from = shelves_[size_class];
  stack* taken = from.newest_warm;
  if (taken != nullptr) {
    from.newest_warm = taken->next;
    --from.warm;
    --counters_.warm;
  } else {
    taken = from.cold.empty() ? &cut(from, size_class) : &take_cold(from, size_class);
  }
  ++counters_.out;
  ROVING_ASSERT(taken->now == stack::state::idle);
  taken->now = stack::state::in_use;
  return *taken;
}

stack& stack_pool::take_cold(shelf& from, unsigned size_class) noexcept {
  const cold_slot slot = from.cold.back();
  from.cold.pop_back();
  --counters_.cold;
  return make_record(slot.address, slot.number, size_class);
}

// A slot that was never used.
stack& stack_pool::cut(shelf& from, unsigned size_class) {
  if (from.current == nullptr || from.current->cut_slots.load(std::memory_order_relaxed) == from.current->slots)
    reserve(from, size_class);
  reservation& source = *from.current;
  const std::size_t index = source.cut_slots.load(std::memory_order_relaxed);
  std::byte* const slot = source.begin + index * source.stride_bytes;
  guard(slot, size_class);  // may throw: the slot stays uncut
  stack& made = make_record(slot, source.first_number + static_cast<std::uint32_t>(index), size_class);
  source.cut_slots.store(index + 1, std::memory_order_release);  // [publish]
  ++counters_.made;
  return made;
}

// Tries less and less, down to one slot: address space may be limited (ulimit -v, strict overcommit).
void stack_pool::reserve(shelf& into, unsigned size_class) {
  const std::size_t stride = stride_bytes(size_class);
  std::size_t slots = std::max<std::size_t>(1, options_.reservation_bytes / stride);
  if (into.cold.capacity() < into.slots + slots) into.cold.reserve(std::max(into.slots + slots, 2 * into.slots));
  auto made = std::make_unique<reservation>();
  void* begin = nullptr;
  int error = options_.calls->map(slots * stride, &begin);
  while (error != 0 && slots > 1) {
    slots = std::max<std::size_t>(1, slots / 4);
    error = options_.calls->map(slots * stride, &begin);
  }
  if (error != 0) {
    throw stack_exhausted(error, std::system_category(),
                          "roving: no address space for a stack of " +
                              std::to_string(minimum_stack_size_bytes << size_class) + " bytes (asked for " +
                              std::to_string(stride) + " bytes; " + std::to_string(counters_.out) +
                              " stacks are in use, " + std::to_string(counters_.reserved_bytes) +
                              " bytes reserved; see ulimit -v, vm.overcommit_memory and vm.max_map_count)");
  }
  made->older = newest_reservation_.load(std::memory_order_relaxed);  // written under the lock only
  made->begin = static_cast<std::byte*>(begin);
  made->size_bytes = slots * stride;
  made->stride_bytes = stride;
  made->slots = slots;
  made->first_number = static_cast<std::uint32_t>(into.slots);
  made->cut_slots.store(0, std::memory_order_relaxed);
  into.slots += slots;
  into.current = made.get();
  ++counters_.reservations;
  counters_.reserved_bytes += made->size_bytes;
  newest_reservation_.store(made.release(), std::memory_order_release);  // [publish]
}

// EINVAL may also come later, for instance under mlockall(): then this slot is protected the old way, and so are all
// that follow.
void stack_pool::guard(std::byte* slot, unsigned size_class) {
  const auto size = [&] { return std::to_string(minimum_stack_size_bytes << size_class); };
  if (kernel_guards_) {
    const int error = options_.calls->install_guard(slot, page_bytes_);
    if (error == 0) return;
    if (error != EINVAL) {
      throw stack_exhausted(error, std::system_category(),
                            "roving: the guard of a stack of " + size() + " bytes can't be installed (" +
                                std::to_string(counters_.out) + " stacks are in use)");
    }
    kernel_guards_ = false;
  }
  if (const int error = options_.calls->protect(slot, page_bytes_); error != 0) {
    throw stack_exhausted(error, std::system_category(),
                          "roving: the guard of a stack of " + size() +
                              " bytes can't be protected: " + std::to_string(counters_.protected_guards) +
                              " guards exist, and each needs two mappings; raise vm.max_map_count (sysctl), or use "
                              "Linux 6.13 or newer, which needs none");
  }
  ++counters_.protected_guards;
}

stack& stack_pool::make_record(std::byte* slot, std::uint32_t number, unsigned size_class) noexcept {
  std::byte* const record = record_of(slot, stride_bytes(size_class), number);
  std::byte* const limit = slot + page_bytes_;
  return *::new (static_cast<void*>(record)) stack{
      .top = record,
      .limit = limit,
      .size_bytes = minimum_stack_size_bytes << size_class,
      .next = nullptr,
      .tsan_fiber = create_sanitizer_fiber(),
      .owner = nullptr,
      .number = number,
      .size_class = static_cast<std::uint16_t>(size_class),
      .unused = 0,
      .valgrind_id = static_cast<std::uint32_t>(ROVING_REGISTER_STACK(limit, record)),
      .now = stack::state::idle,
      .room = {},
  };
}

void stack_pool::give_back(stack& back) noexcept {
  ROVING_ASSERT(back.now == stack::state::in_use);
  back.now = stack::state::idle;
  back.owner = nullptr;
  back.next = nullptr;
  give_back_list(&back);
}

void stack_pool::give_back_list(stack* first) noexcept {
  {
    const std::scoped_lock hold{mutex_};
    while (first != nullptr && shelves_[first->size_class].warm < options_.warm_stacks_at_most) {
      stack& back = *std::exchange(first, first->next);
      ROVING_ASSERT(back.now == stack::state::idle);
      shelf& into = shelves_[back.size_class];
      back.next = std::exchange(into.newest_warm, &back);
      ++into.warm;
      ++counters_.warm;
      --counters_.out;
    }
  }
  if (first != nullptr) give_pages_back(first);
}

// In small batches, so that the system calls are made without the lock, and on little stack: it is that of whoever goes
// on. Until its batch is noted, a stack counts as out.
void stack_pool::give_pages_back(stack* first) noexcept {
  constexpr std::size_t batch_size = 33;  // a cache gives up 65 at a time
  while (first != nullptr) {
    std::array<memory_range, batch_size> pages;
    std::array<std::uint32_t, batch_size> numbers;
    std::array<std::uint16_t, batch_size> size_classes;
    std::size_t noted = 0;
    for (; first != nullptr && noted < batch_size; ++noted) {
      stack& back = *std::exchange(first, first->next);
      ROVING_ASSERT(back.now == stack::state::idle);
      pages[noted] = {back.limit, back.size_bytes};
      numbers[noted] = back.number;
      size_classes[noted] = back.size_class;
      destroy_sanitizer_fiber(back.tsan_fiber);
      ROVING_DEREGISTER_STACK(back.valgrind_id);
    }
    // The records are gone from here on. If the call fails the pages stay with a cold slot: a waste and no error (I3).
    const std::size_t failures = options_.calls->give_back(std::span{pages}.first(noted));
    const std::scoped_lock hold{mutex_};
    for (std::size_t i = 0; i < noted; ++i)  // has room: see reserve()
      shelves_[size_classes[i]].cold.push_back({static_cast<std::byte*>(pages[i].address) - page_bytes_, numbers[i]});
    counters_.out -= noted;
    counters_.cold += noted;
    counters_.give_back_failures += failures;
  }
}

const stack* stack_pool::overflowed_at(const void* address) const noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  // [publish]
  for (const reservation* each = newest_reservation_.load(std::memory_order_acquire); each != nullptr;
       each = each->older) {
    const auto begin = reinterpret_cast<std::uintptr_t>(each->begin);
    if (at < begin || at - begin >= each->size_bytes) continue;
    const std::size_t index = (at - begin) / each->stride_bytes;
    if (index >= each->cut_slots.load(std::memory_order_acquire)) return nullptr;  // [publish]
    if ((at - begin) % each->stride_bytes >= page_bytes_) return nullptr;          // within a stack: some other fault
    std::byte* const slot = each->begin + index * each->stride_bytes;
    const auto number = each->first_number + static_cast<std::uint32_t>(index);
    const auto* record = std::launder(reinterpret_cast<const stack*>(record_of(slot, each->stride_bytes, number)));
    return record->now == stack::state::in_use ? record : nullptr;  // a cold slot reads as idle: zeros
  }
  return nullptr;
}

bool stack_pool::holds(const void* address) const noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  // [publish]
  for (const reservation* each = newest_reservation_.load(std::memory_order_acquire); each != nullptr;
       each = each->older)
    if (at - reinterpret_cast<std::uintptr_t>(each->begin) < each->size_bytes) return true;
  return false;
}

stack_counters stack_pool::counters() const {
  const std::scoped_lock hold{mutex_};
  return counters_;
}

// ---- stack_cache ----------------------------------------------------------------------------------------------

stack_cache::~stack_cache() {
  for (shelf& each : shelves_) give_up_oldest(each, each.kept);
}

void stack_cache::trim() noexcept {
  for (shelf& each : shelves_) {
    give_up_oldest(each, each.least);
    each.least = each.kept;
  }
}

std::size_t stack_cache::kept() const noexcept {
  std::size_t sum = 0;
  for (const shelf& each : shelves_) sum += each.kept;
  return sum;
}

void stack_cache::give_up_oldest(shelf& from, std::size_t count) noexcept {
  if (count == 0) return;
  ROVING_ASSERT(count <= from.kept);
  from.kept -= count;
  from.least = std::min(from.least, from.kept);
  stack** link = &from.newest;  // the last link that stays
  for (std::size_t i = 0; i < from.kept; ++i) link = &(*link)->next;
  pool_.give_back_list(std::exchange(*link, nullptr));
}

}  // namespace roving::detail
