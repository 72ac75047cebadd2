// What other threads bring to a shard: an intrusive list with many producers and one consumer.
//
// Producers push onto a stack; the owner takes all of it with one exchange and turns it round. So there is
// nothing to pop one by one, no dummy node, and no moment at which a producer that was preempted hides what
// others pushed after it (as in Vyukov's queue, which was rejected for that).
//
// I1  newest_ heads a list linked by `next`, from the newest to the oldest, that ends in nullptr.
// I2  A node in the list is the inbox's. drain() gives all of them to the owner.
// I3  The order is that of the successful compare-exchanges: one for all producers, and each producer's own.
//
// A node that is drained and pushed again between a producer's load and its compare-exchange does no harm:
// the producer's `next` is right whenever newest_ has the value that it expects.
//
// [publish]  push exchanges newest_, release -> drain exchanges it, acquire: the owner sees `next` and all
//            that was done to the node before. This holds for the older nodes too: every push between is
//            a read-modify-write and carries their release on.
// [wake]     push exchanges newest_, then its caller loads the idle word; a sleeper writes the idle word,
//            then calls looks_empty(); all seq_cst: the producer sees the sleeper or the sleeper sees the node.
#pragma once

#include <roving/detail/atomic.hpp>
#include <roving/detail/planted.hpp>

namespace roving::detail {

/// An unbounded list of nodes from any thread to one owner. `Node` has a member `Node* next`.
///
/// Suspends: never. Allocates: never.
/// Thread safety: push() and looks_empty() are anybody's; drain() is the owner's.
/// Lifetime: doesn't own its nodes. A pushed one stays where it is until it is drained.
/// `Atomic` is std::atomic, or what a model explorer puts in its place.
template <class Node, template <class> class Atomic = atomic>
class inbox {
 public:
  inbox() = default;
  inbox(const inbox&) = delete;
  inbox& operator=(const inbox&) = delete;

  /// Adds a node that is in no other list. Any thread.
  void push(Node& node) noexcept {
    Node* newest = newest_.load(std::memory_order_relaxed);  // a guess: the compare-exchange checks it
    do {
      node.next = newest;
      // [publish] [wake]. On failure `newest` is the next guess: relaxed.
    } while (!newest_.compare_exchange_weak(newest, &node, std::memory_order_seq_cst, std::memory_order_relaxed));
  }

  /// Takes all nodes: the oldest, linked by `next` to newer ones; nullptr when there are none. Owner only.
  [[nodiscard]] Node* drain() noexcept {
    // Spares the empty inbox an exchange in every turn. Relaxed: a node missed here is there next time, and
    // whoever has seen looks_empty() say false sees that node here.
    if (newest_.load(std::memory_order_relaxed) == nullptr) return nullptr;

    if (is_planted(planted::inbox_newest_first)) return newest_.exchange(nullptr, std::memory_order_acquire);
    Node* rest = nullptr;
    if (is_planted(planted::drain_in_two_steps)) {
      rest = newest_.load(std::memory_order_acquire);
      newest_.store(nullptr, std::memory_order_release);
    } else {
      rest = newest_.exchange(nullptr, std::memory_order_acquire);  // [publish]
    }
    Node* oldest = nullptr;
    while (rest != nullptr) {
      Node* const older = rest->next;
      rest->next = oldest;
      oldest = rest;
      rest = older;
    }
    return oldest;
  }

  /// Whether there is nothing to drain. Any thread. For the owner true is final until the next push.
  [[nodiscard]] bool looks_empty() const noexcept {
    return newest_.load(std::memory_order_seq_cst) == nullptr;  // [wake]
  }

 private:
  alignas(64) Atomic<Node*> newest_{nullptr};
};

}  // namespace roving::detail
