// The blocks of a slab that come back from other threads, and who of all is the last to touch it.
//
// I1  newest_ heads a list linked by `next` that ends in nullptr. What is in it is the list's until take_all() gives
//     all of it to the owner.
// I2  count_ is what came back less, once the slab is retired, what must come back. Whoever brings it to zero then is
//     the last; nobody else touches anything of the slab after that. Before, it is above zero after each push().
//
// Rejected: an inbox, which turns the list round to keep an order that does not matter here, and wakes.
//
// [return]  push exchanges newest_, release -> take_all exchanges it, acquire: the owner sees a block as it was left.
//
// [last]    push and retire count, acq_rel: the last one sees all that was done to the blocks and by the owner.
#pragma once

#include <cstdint>

#include <roving/detail/atomic.hpp>

namespace roving::detail {

/// `Node` has a member `Node* next`. `Atomic` is std::atomic, or what a model explorer puts in its place.
///
/// Suspends: never. Allocates: never.
/// Thread safety: push() is anybody's but the owner's; the rest is the owner's.
template <class Node, template <class> class Atomic = atomic>
class return_list {
 public:
  return_list() = default;
  return_list(const return_list&) = delete;
  return_list& operator=(const return_list&) = delete;

  /// Brings a node back. True when the caller is the last; if not, all of this may be gone when it returns.
  [[nodiscard]] bool push(Node& node) noexcept {
    Node* newest = newest_.load(std::memory_order_relaxed);  // a guess: the compare-exchange checks it
    do {
      node.next = newest;
      // On failure `newest` is the next guess: relaxed.
    } while (!newest_.compare_exchange_weak(newest, &node, std::memory_order_release,  // [return]
                                            std::memory_order_relaxed));
    return count_.fetch_add(1, std::memory_order_acq_rel) + 1 == 0;  // [last]
  }

  /// What came back, linked by `next`; nullptr when nothing did.
  [[nodiscard]] Node* take_all() noexcept {
    if (newest_.load(std::memory_order_relaxed) == nullptr) return nullptr;  // stale is safe: it is there next time
    return newest_.exchange(nullptr, std::memory_order_acquire);             // [return]
  }

  /// No take_all() follows. `out` nodes come back from first to last. True when all have and the caller is the last; if
  /// not, all of this may be gone when it returns.
  [[nodiscard]] bool retire(std::int64_t out) noexcept {
    return count_.fetch_sub(out, std::memory_order_acq_rel) == out;  // [last]
  }

  /// How many came back until now. Relaxed: orders nothing.
  [[nodiscard]] std::int64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  Atomic<Node*> newest_{nullptr};
  Atomic<std::int64_t> count_{0};
};

}  // namespace roving::detail
