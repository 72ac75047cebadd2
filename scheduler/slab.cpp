// See slab.hpp.
#include "scheduler/slab.hpp"

#include <new>

namespace roving::detail {

void slab::refill() {
  if (returned_.load(std::memory_order_relaxed) != nullptr)
    free_ = static_cast<parkable*>(returned_.exchange(nullptr, std::memory_order_acquire));  // [return]
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
  block.next = returned_.load(std::memory_order_relaxed);
  while (!returned_.compare_exchange_weak(block.next, &block, std::memory_order_release,  // [return]
                                          std::memory_order_relaxed)) {
  }
  if (balance_.fetch_add(1, std::memory_order_acq_rel) + 1 == 0) delete this;  // I1
}

void slab::retire() noexcept {
  const std::int64_t out = out_;  // once it is subtracted, the last block may come back and take all of this with it
  scheduler_.store(nullptr, std::memory_order_release);
  if (balance_.fetch_sub(out, std::memory_order_acq_rel) - out == 0) delete this;  // I1
}

std::size_t slab::live_blocks() const noexcept {
  return static_cast<std::size_t>(out_ - balance_.load(std::memory_order_acquire));
}

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
