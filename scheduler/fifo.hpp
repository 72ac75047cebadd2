// The private ready queue of a shard: intrusive, counted, touched by its owner alone; no atomics.
#pragma once

#include <cstddef>

#include <roving/detail/ready_node.hpp>

namespace roving::detail {

class fifo {
 public:
  void push(ready_node& node) noexcept {
    node.next = nullptr;
    *end_ = &node;
    end_ = &node.next;
    ++size_;
  }

  /// The oldest; not when empty.
  [[nodiscard]] ready_node& front() const noexcept { return *first_; }

  ready_node& pop() noexcept {
    ready_node& node = *first_;
    first_ = node.next;
    if (first_ == nullptr) end_ = &first_;
    --size_;
    return node;
  }

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  ready_node* first_ = nullptr;
  ready_node** end_ = &first_;
  std::size_t size_ = 0;
};

}  // namespace roving::detail
