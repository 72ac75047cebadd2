// See slab.hpp.
#include "scheduler/slab.hpp"

#include <new>

namespace roving::detail {

void slab::refill() {
  if (ready_node* const back = returned_.take_all())
    free_ = static_cast<parkable*>(back);
  else
    grow();
}

void slab::give_back(task_base& block, bool local) noexcept {
  if (local) {
    block.next = free_;
    free_ = &block;
    --out_;
    return;
  }
  if (returned_.push(block)) delete this;  // I1
}

void slab::retire() noexcept {
  scheduler_.store(nullptr, std::memory_order_release);
  if (returned_.retire(out_)) delete this;  // I1
}

std::size_t slab::live_blocks() const noexcept { return static_cast<std::size_t>(out_ - returned_.count()); }

void slab::grow() {
  auto* const made = new chunk;
  for (std::size_t i = 0; i < blocks_per_chunk; ++i) {
    auto* const block = ::new (made->memory + i * task_base::block_size_bytes) task_base{this};
    block->next = i + 1 < blocks_per_chunk
        ? reinterpret_cast<task_base*>(made->memory + (i + 1) * task_base::block_size_bytes)
        : nullptr;
  }
  made->next = chunks_.load(std::memory_order_relaxed);
  chunks_.store(made, std::memory_order_release);  // [chunk]
  free_ = &made->block(0);
}

slab::~slab() {
  for (chunk* at = chunks_.load(std::memory_order_acquire); at != nullptr;) {
    chunk* const next = at->next;
    for (std::size_t i = 0; i < blocks_per_chunk; ++i) at->block(i).~task_base();
    delete at;
    at = next;
  }
}

}  // namespace roving::detail
