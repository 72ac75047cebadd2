// A queue between tasks: the least first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include <roving/detail/queue_core.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

template <class Value, class Compare>
class priority_items {
  // A heap that is left half-way can't be put right.
  static_assert(std::is_nothrow_move_constructible_v<Value> && std::is_nothrow_move_assignable_v<Value>,
                "priority_queue moves its items about, which must not throw");

 public:
  void push(Value&& item) {
    heap_.push_back({std::move(item), next_number_});
    ++next_number_;
    std::push_heap(heap_.begin(), heap_.end(), comes_after);
  }

  Value pop() noexcept {
    std::pop_heap(heap_.begin(), heap_.end(), comes_after);
    Value item = std::move(heap_.back().value);
    heap_.pop_back();
    return item;
  }

  void swap(priority_items& other) noexcept { heap_.swap(other.heap_); }

 private:
  struct entry {
    Value value;
    std::uint64_t number;  // of its put: the order among equals
  };

  // noexcept for the same reason: a comparison that throws ends the program.
  static bool comes_after(const entry& left, const entry& right) noexcept {
    const Compare before{};
    if (before(right.value, left.value)) return true;
    return !before(left.value, right.value) && left.number > right.number;
  }

  std::vector<entry> heap_;
  std::uint64_t next_number_ = 0;
};

}  // namespace detail

/// A queue that gives the least item; among equals the one that was put first. The members are basic_queue's; see
/// queue.
///
/// Note: std::priority_queue gives the greatest. `Compare` has no state and must not throw.
template <class Value, class Compare = std::less<Value>>
class priority_queue : public detail::basic_queue<Value, detail::priority_items<Value, Compare>> {
 public:
  using detail::basic_queue<Value, detail::priority_items<Value, Compare>>::basic_queue;
};

}  // namespace roving

#pragma GCC visibility pop
