// Stacks for fibers: cut from large reservations, guarded, kept warm, given back.
//
//     reservation (64 MiB of address space, no memory)
//     | guard | ....... stack ....... <- top | record | stagger || guard | ... next slot
//     ^ slot   ^ limit                                            one page + a power of two each
//
// A slot costs memory only where it was touched. The record lies at the top of its own slot: the page is touched by the
// first frame anyway, so a parked fiber costs one page and nothing else. Tops are staggered by cache lines, since equal
// low address bits would send all fibers' hottest lines to the same few sets of the cache (12 ns a resume instead of 7
// with 1000 fibers).
//
// Guards: MADV_GUARD_INSTALL where the kernel has it (Linux 6.13): it splits no mapping, so a million stacks fit.
// Otherwise one PROT_NONE page per slot, which makes two mappings of one; the kernel's limit on mappings
// (vm.max_map_count, 65,530) is then met at about 32,000 stacks, and said so. Rejected: stacks without guards beyond a
// number; a fault there corrupts a stranger.
//
// A stack is on one of three levels. A shard's stack_cache: warm, newest first, no lock. The pool's warm list: under a
// lock, bounded. Cold: its pages are back with the kernel and its record with them, only its address is remembered.
//
// I1  A slot is in use, in one cache, on one warm list, or cold. Its record is valid in the first three.
// I2  Reservations are only added, and released together by ~stack_pool: a fault handler may walk them at any time.
// I3  Whatever call to the kernel fails, no slot is lost and none is handed out without its guard.

#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <system_error>
#include <vector>

#include <roving/detail/assert.hpp>

#include "scheduler/sanitizers.hpp"

namespace roving::detail {

// Smallest and default sizes. Sanitizers widen every frame.
inline constexpr std::size_t minimum_stack_size_bytes = (address_sanitizer || thread_sanitizer) ? 64 * 1024 : 16 * 1024;
inline constexpr std::size_t default_stack_size_bytes = 256 * 1024;
inline constexpr unsigned stack_size_classes = 15;  // powers of two from the smallest on
inline constexpr std::size_t maximum_stack_size_bytes = minimum_stack_size_bytes << (stack_size_classes - 1);

// Rounds up. Sizes above the maximum give stack_size_classes, which no pool has.
constexpr unsigned stack_size_class(std::size_t size_bytes) noexcept {
  if (size_bytes <= minimum_stack_size_bytes) return 0;
  if (size_bytes > maximum_stack_size_bytes) return stack_size_classes;
  return static_cast<unsigned>(std::bit_width(size_bytes - 1) - std::bit_width(minimum_stack_size_bytes - 1));
}

// One stack; lies at the top of its own slot, right above the first frame. Taking and giving back touch one cache line
// of it.
struct alignas(64) stack {
  enum class state : std::uint32_t { idle, in_use };

  std::byte* top;          // where the first frame starts, downwards; 64-byte aligned
  std::byte* limit;        // lowest byte that may be used; the guard ends here
  std::size_t size_bytes;  // of its class; top - limit is less by record and stagger (1,152 bytes at most)
  stack* next;             // for whoever owns it
  void* tsan_fiber;        // ThreadSanitizer's view of it; null in other builds
  void* owner;             // for the user: who runs on it now. Null when taken; read by the overflow report
  std::uint32_t number;    // of its slot within its class; gives the stagger
  std::uint16_t size_class;
  std::uint16_t unused;
  std::uint32_t valgrind_id;  // 0 when valgrind does not watch
  state now;
  std::byte room[128];  // for whoever runs on it; a fiber keeps its record there
};
static_assert(sizeof(stack) == 192 || sizeof(void*) != 8);

// A stack could not be had: address space, memory or the number of mappings is at its limit. what() says which, what
// was asked and what helps.
class stack_exhausted : public std::system_error {
 public:
  using std::system_error::system_error;
};

struct memory_range {  // laid out as the kernel's iovec
  void* address;
  std::size_t size_bytes;
};

// The system calls that the pool makes, so that a test can let them fail. Each returns 0 or the error number; the last
// how many of the ranges were refused.
struct memory_calls {
  int (*map)(std::size_t size_bytes, void** at) noexcept;  // anonymous, readable, writable, unreserved
  int (*unmap)(void* address, std::size_t size_bytes) noexcept;
  int (*install_guard)(void* address, std::size_t size_bytes) noexcept;     // EINVAL: the kernel has no such thing
  int (*protect)(void* address, std::size_t size_bytes) noexcept;           // against every access
  std::size_t (*give_back)(std::span<const memory_range> ranges) noexcept;  // the contents may go

  static const memory_calls& of_the_system() noexcept;
};

struct stack_pool_options {
  std::size_t reservation_bytes = std::size_t{64} * 1024 * 1024;  // rounded to whole slots, at least one
  std::size_t warm_stacks_at_most = 1024;                         // per size class, in the pool itself
  const memory_calls* calls = &memory_calls::of_the_system();
};

struct stack_counters {
  std::size_t reservations = 0;
  std::size_t reserved_bytes = 0;
  std::size_t made = 0;                // slots that were ever handed out
  std::size_t out = 0;                 // in use or in a cache
  std::size_t warm = 0;                // in the pool, with their pages
  std::size_t cold = 0;                // in the pool, without
  std::size_t protected_guards = 0;    // guards that cost a mapping
  std::size_t give_back_failures = 0;  // the kernel refused to take pages back; the stack is used on
};

// All stacks of a runtime.
//
// Thread safety: any thread, at any time; all of it is off the fast path (see stack_cache).
// Lifetime: outlives its caches and every fiber on its stacks; the destructor asserts that no stack is out.
class stack_pool {
 public:
  explicit stack_pool(const stack_pool_options& options = {});
  stack_pool(const stack_pool&) = delete;
  stack_pool& operator=(const stack_pool&) = delete;
  ~stack_pool();

  // A stack of at least `size_bytes` (its class's size, of which record and stagger take up to 1,152 bytes).
  // Errors: stack_exhausted; std::invalid_argument above maximum_stack_size_bytes. Nothing has changed then.
  [[nodiscard]] stack& take(std::size_t size_bytes);
  void give_back(stack& back) noexcept;

  // A list linked by `next`, of idle stacks.
  void give_back_list(stack* first) noexcept;

  // The stack that is in use and in whose guard `address` lies, or null. Async-signal-safe: neither locks nor
  // allocates. For the thread whose fiber has just overflowed; another one may find the stack on its way to somebody
  // else.
  [[nodiscard]] const stack* overflowed_at(const void* address) const noexcept;

  // Whether `address` is in any of the reservations. Async-signal-safe, as above.
  [[nodiscard]] bool holds(const void* address) const noexcept;

  [[nodiscard]] stack_counters counters() const;

 private:
  struct reservation;
  struct cold_slot {
    std::byte* address;
    std::uint32_t number;
  };
  struct shelf {  // one per size class
    stack* newest_warm = nullptr;
    std::size_t warm = 0;
    std::vector<cold_slot> cold;     // has room for every slot of the class, so that giving back needs no memory
    std::size_t slots = 0;           // of all reservations of the class
    reservation* current = nullptr;  // where new slots are cut
  };

  stack& take_cold(shelf& from, unsigned size_class) noexcept;
  stack& cut(shelf& from, unsigned size_class);
  void reserve(shelf& into, unsigned size_class);
  void guard(std::byte* slot, unsigned size_class);
  void give_pages_back(stack* first) noexcept;
  stack& make_record(std::byte* slot, std::uint32_t number, unsigned size_class) noexcept;
  [[nodiscard]] std::size_t stride_bytes(unsigned size_class) const noexcept;

  const stack_pool_options options_;
  const std::size_t page_bytes_;
  mutable std::mutex mutex_;  // all below
  std::array<shelf, stack_size_classes> shelves_{};
  bool kernel_guards_ = true;  // until the kernel says that it has none
  stack_counters counters_{};
  // [publish] reserve() stores, release -> overflowed_at() loads, acquire: it sees a whole reservation.
  std::atomic<reservation*> newest_reservation_{nullptr};
};

// The warm stacks of one shard.
//
// Thread safety: its shard alone, but for the pool behind it.
// Lifetime: gives all back when it is destroyed.
class stack_cache {
 public:
  static constexpr std::size_t kept_at_most = 128;  // per size class; half of them go when there is one more

  explicit stack_cache(stack_pool& pool) noexcept : pool_(pool) {}
  stack_cache(const stack_cache&) = delete;
  stack_cache& operator=(const stack_cache&) = delete;
  ~stack_cache();

  // The newest warm one, or one from the pool; errors as there.
  [[nodiscard]] stack& take(std::size_t size_bytes) {
    const unsigned size_class = stack_size_class(size_bytes);
    if (size_class < stack_size_classes) [[likely]] {
      shelf& from = shelves_[size_class];
      if (stack* const warm = from.newest) [[likely]] {
        from.newest = warm->next;
        if (--from.kept < from.least) from.least = from.kept;
        ROVING_ASSERT(warm->now == stack::state::idle);
        warm->now = stack::state::in_use;
        return *warm;
      }
    }
    return pool_.take(size_bytes);
  }

  // May come from another cache of the same pool: stacks go where their fibers end.
  void give_back(stack& back) noexcept {
    ROVING_ASSERT(back.now == stack::state::in_use);
    back.now = stack::state::idle;
    back.owner = nullptr;
    shelf& into = shelves_[back.size_class];
    back.next = into.newest;
    into.newest = &back;
    if (++into.kept > kept_at_most) [[unlikely]]
      give_up_oldest(into, into.kept - kept_at_most / 2);
  }

  // Gives to the pool what nobody needed since the last call. Call it now and then, for instance before a long sleep.
  void trim() noexcept;

  [[nodiscard]] std::size_t kept() const noexcept;

 private:
  struct shelf {
    stack* newest = nullptr;
    std::size_t kept = 0;
    std::size_t least = 0;  // the fewest since the last trim(): so many, the oldest, were not needed
  };

  void give_up_oldest(shelf& from, std::size_t count) noexcept;

  stack_pool& pool_;
  std::array<shelf, stack_size_classes> shelves_{};
};

}  // namespace roving::detail
