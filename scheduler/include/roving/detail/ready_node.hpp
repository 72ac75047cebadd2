// What can stand in a ready queue: a task that may run on, or a callback. One intrusive link serves every queue, since
// a thing is ready at most once at a time.
#pragma once

#include <cstdint>

#include <roving/detail/claim_word.hpp>

namespace roving::detail {

class shard;

#pragma GCC visibility push(default)

enum class ready_kind : std::uint8_t {
  task,    // a task_base; resumed by a shard
  thread,  // a plain thread that is blocked; run() wakes it, at once
  posted,  // a posted_callback; run() on its shard's loop
  direct   // run() at once, by whoever made it ready; ours alone, never suspends, never throws
};

struct ready_node {
  using function = void (*)(ready_node&) noexcept;

  explicit ready_node(ready_kind what, function how = nullptr) noexcept : run{how}, kind{what} {}

  ready_node* next = nullptr;
  function run;
  ready_kind kind;
};

/// A callback with the shard that it is pinned to. `drop` ends it unrun, when its runtime closes first.
struct posted_callback : ready_node {
  posted_callback(shard* where, function how, function unrun) noexcept
      : ready_node{ready_kind::posted, how}, home{where}, drop{unrun} {}
  shard* home;
  function drop;
};

/// What can be parked and claimed: a task, or a plain thread that waits.
struct parkable : ready_node {
  using ready_node::ready_node;
  claim_word claims;
};

/// A list of ready nodes in the order in which they were added.
class ready_list {
 public:
  void push(ready_node& node) noexcept {
    node.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &node;
    last_ = &node;
  }

  [[nodiscard]] ready_node* pop() noexcept {
    ready_node* const node = first_;
    if (node == nullptr) return nullptr;
    first_ = node->next;
    if (first_ == nullptr) last_ = nullptr;
    return node;
  }

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] ready_node* front() const noexcept { return first_; }

 private:
  ready_node* first_ = nullptr;
  ready_node* last_ = nullptr;
};

/// Sends what is ready where it belongs: a task to its queue, a callback to its shard, the rest is run. Any thread; no
/// lock may be held.
void make_ready(ready_node& node) noexcept;
void make_ready(ready_list& nodes) noexcept;

}  // namespace roving::detail

#pragma GCC visibility pop
