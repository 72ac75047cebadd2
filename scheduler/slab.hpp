// Where a shard's task blocks come from.
//
// Chunks of blocks, made when they are needed and kept until the slab goes; a block is a task_base for ever. The owner
// takes and gives back without atomics. A block that ends on another shard goes to a return list, which the owner takes
// whole when its own list is empty.
//
// Handles may outlive the runtime: retire() leaves the slab to the last block that is given back.
//
// I1  Whoever is the last of the owner, which retires it, and those who bring blocks back destroys it: see
//     return_list.hpp. Nobody else reads anything of it once he has said that he is done.
// I2  Chunks are only added, at the head; walkers may follow the list at any time.
//
// [chunk]   grow() release -> for_each() acquire: walkers see constructed blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include <roving/detail/atomic.hpp>
#include <roving/detail/task_base.hpp>

#include "scheduler/return_list.hpp"

namespace roving::detail {

class slab {
 public:
  explicit slab(scheduler& owner) noexcept : scheduler_{&owner} {}
  slab(const slab&) = delete;
  slab& operator=(const slab&) = delete;

  /// A block without references. Owner only. Throws std::bad_alloc.
  [[nodiscard]] task_base& take() {
    if (free_ == nullptr) refill();
    parkable* const block = free_;
    free_ = static_cast<parkable*>(block->next);
    ++out_;
    return static_cast<task_base&>(*block);
  }

  /// `local`: the caller is the owner's thread.
  void give_back(task_base& block, bool local) noexcept;

  /// The runtime ends: no take() follows. Deletes the slab at once or with its last block.
  void retire() noexcept;

  /// Calls f for every block that was ever used, whatever it is at the moment. Any thread.
  template <class Function>
  void for_each(Function&& f) {
    for (chunk* at = chunks_.load(std::memory_order_acquire); at != nullptr; at = at->next)  // [chunk]
      for (std::size_t i = 0; i < blocks_per_chunk; ++i) f(at->block(i));
  }

  /// The runtime that it belongs to; null once that is closed.
  [[nodiscard]] scheduler* owner() const noexcept { return scheduler_.load(std::memory_order_acquire); }
  void set_shard(unsigned index) noexcept { shard_ = index; }
  [[nodiscard]] unsigned shard_index() const noexcept { return shard_; }
  [[nodiscard]] std::size_t live_blocks() const noexcept;

 private:
  static constexpr std::size_t blocks_per_chunk = 64;
  struct chunk {
    chunk* next;
    alignas(64) std::byte memory[blocks_per_chunk * task_base::block_size_bytes];
    task_base& block(std::size_t index) noexcept {
      return *std::launder(reinterpret_cast<task_base*>(memory + index * task_base::block_size_bytes));
    }
  };

  ~slab();
  void refill();
  void grow();

  atomic<scheduler*> scheduler_;
  unsigned shard_ = 0;
  atomic<chunk*> chunks_{nullptr};
  // The owner's.
  parkable* free_ = nullptr;
  std::int64_t out_ = 0;  // taken and not given back locally
  // Others'.
  alignas(64) return_list<ready_node> returned_;
};

}  // namespace roving::detail
