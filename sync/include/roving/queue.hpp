// A queue between tasks: first in, first out.
#pragma once

#include <deque>
#include <utility>

#include <roving/detail/queue_core.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

template <class Value>
class fifo_items {
 public:
  void push(Value&& item) { items_.push_back(std::move(item)); }

  Value pop() {
    Value item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

  void swap(fifo_items& other) noexcept { items_.swap(other.items_); }

 private:
  std::deque<Value> items_;
};

}  // namespace detail

/// A queue that gives items in the order in which they were put. The members are basic_queue's:
///
///     queue<job> jobs{64};                 // at most 64 items; {} or {0}: no bound
///     jobs.put(std::move(next));           // waits while it is full
///     job mine = jobs.get();               // waits while it is empty
///     jobs.task_done(); jobs.join();       // join() waits until all that was put is done
///     jobs.shutdown();                     // no more
template <class Value>
class queue : public detail::basic_queue<Value, detail::fifo_items<Value>> {
 public:
  using detail::basic_queue<Value, detail::fifo_items<Value>>::basic_queue;
};

}  // namespace roving

#pragma GCC visibility pop
