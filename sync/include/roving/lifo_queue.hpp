// A queue between tasks: last in, first out.
#pragma once

#include <utility>
#include <vector>

#include <roving/detail/queue_core.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

template <class Value>
class lifo_items {
 public:
  void push(Value&& item) { items_.push_back(std::move(item)); }

  Value pop() {
    Value item = std::move(items_.back());
    items_.pop_back();
    return item;
  }

  void swap(lifo_items& other) noexcept { items_.swap(other.items_); }

 private:
  std::vector<Value> items_;
};

}  // namespace detail

/// A queue that gives the item that was put last. The members are basic_queue's; see queue.
template <class Value>
class lifo_queue : public detail::basic_queue<Value, detail::lifo_items<Value>> {
 public:
  using detail::basic_queue<Value, detail::lifo_items<Value>>::basic_queue;
};

}  // namespace roving

#pragma GCC visibility pop
