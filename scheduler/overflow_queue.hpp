// The queue that all shards share: what a full deque sheds, and what is made ready off every shard.
//
// Unbounded and in plain sight, so that no shard ever has to sleep because a queue is full. It is touched
// once for half a deque, not once a task; a lock around a list is enough for that, keeps the order exact,
// and lets a thief take many at a time. Rejected: a lock-free queue, which needs reclamation or a node each.
//
// I1  first_, last_ and all `next` between them belong to the holder of lock_. last_->next is nullptr.
// I2  size_ is the length of the list whenever lock_ is free. It is written under lock_ alone.
//
// [guard]  lock_ orders the nodes: see spin_lock.
// [wake]   push stores size_, then its caller loads the idle word; a sleeper writes the idle word, then calls
//          looks_empty(); all seq_cst: the producer sees the sleeper or the sleeper sees the node. Stores
//          that take nodes away may be relaxed: whoever reads them is told of less work, and that is so.
#pragma once

#include <roving/detail/assert.hpp>
#include <roving/detail/atomic.hpp>
#include <roving/detail/spin_lock.hpp>

#include <cstddef>
#include <mutex>

namespace roving::detail {

/// An unbounded first-in first-out queue for many producers and consumers. `Node` has a member `Node* next`.
///
/// Suspends: never. Allocates: never.
/// Thread safety: everything is anybody's.
/// Lifetime: doesn't own its nodes. A pushed one stays where it is until it is popped.
/// `Atomic` is std::atomic, or what a model explorer puts in its place.
template <class Node, template <class> class Atomic = atomic>
class overflow_queue {
 public:
  overflow_queue() = default;
  overflow_queue(const overflow_queue&) = delete;
  overflow_queue& operator=(const overflow_queue&) = delete;

  /// Adds a node that is in no other list, behind all others.
  void push(Node& node) noexcept { push_list(&node, &node, 1); }

  /// Adds `count` nodes, linked by `next` from `first` to `last`, in this order and with none between them.
  void push_list(Node* first, Node* last, std::size_t count) noexcept {
    ROVING_ASSERT(first != nullptr && last != nullptr && count > 0);
    last->next = nullptr;
    const std::scoped_lock guard{lock_};
    if (last_ == nullptr)
      first_ = first;
    else
      last_->next = first;
    last_ = last;
    size_.store(size_.load(std::memory_order_relaxed) + count, std::memory_order_seq_cst);  // [wake]
  }

  /// Takes the oldest node; nullptr when there is none.
  [[nodiscard]] Node* pop() noexcept {
    Node* node = nullptr;
    return pop_some(1, node) == 0 ? nullptr : node;
  }

  /// Takes the oldest nodes, `at_most` of them, into `first`, linked by `next`; nullptr when there are none.
  /// Returns how many. Holds the lock for as many steps, unless it takes all.
  [[nodiscard]] std::size_t pop_some(std::size_t at_most, Node*& first) noexcept {
    first = nullptr;
    // Spares the empty queue its lock. Relaxed: whoever has seen looks_empty() say false sees as much here.
    if (at_most == 0 || size_.load(std::memory_order_relaxed) == 0) return 0;

    const std::scoped_lock guard{lock_};
    const std::size_t size = size_.load(std::memory_order_relaxed);  // I2
    first = first_;
    if (size <= at_most) {
      first_ = last_ = nullptr;
      size_.store(0, std::memory_order_relaxed);  // [wake]: less work
      return size;
    }
    Node* last = first;
    for (std::size_t taken = 1; taken < at_most; ++taken) last = last->next;
    first_ = last->next;
    last->next = nullptr;
    size_.store(size - at_most, std::memory_order_relaxed);  // [wake]: less work
    return at_most;
  }

  /// Whether there is nothing to pop. True was true at one moment of the call; false may be stale.
  [[nodiscard]] bool looks_empty() const noexcept {
    return size_.load(std::memory_order_seq_cst) == 0;  // [wake]
  }

  /// The number of nodes at some moment. Relaxed: orders nothing.
  [[nodiscard]] std::size_t size_estimate() const noexcept { return size_.load(std::memory_order_relaxed); }

 private:
  // On one cache line: whoever takes the lock writes the size as well.
  alignas(64) Atomic<std::size_t> size_{0};
  basic_spin_lock<Atomic> lock_;
  Node* first_ = nullptr;  // I1
  Node* last_ = nullptr;   // I1
};

}  // namespace roving::detail
