// Going through tasks and futures in the order in which they end.
#pragma once

#include <chrono>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <roving/detail/handle.hpp>
#include <roving/time.hpp>

namespace roving {
namespace detail {

class completion_state;

#pragma GCC visibility push(default)

/// Different futures in the order in which they end.
///
/// Thread safety: belongs to the task (the plain thread) that made it.
class completion_order {
 public:
  /// `deadline` may be max(). Errors: not_in_task, std::bad_alloc.
  completion_order(std::span<future_base* const> futures, time_point deadline, const char* call);
  completion_order(const completion_order&) = delete;
  completion_order& operator=(const completion_order&) = delete;
  ~completion_order();

  /// Waits for the next one that is done and says its place; nothing when all were given. Errors: timeout_error from
  /// the deadline on, once for each that is left; `cancelled`.
  [[nodiscard]] std::optional<std::size_t> next();

 private:
  completion_state* state_;
};

}  // namespace detail

/// What as_completed() gives: a range to be gone through once, by the task that made it.
template <class Range>
class as_completed_range {
 public:
  using value_type = detail::handle_in<std::remove_reference_t<Range>>;

  as_completed_range(Range&& handles, time_point deadline)
      : range_{std::forward<Range>(handles)},
        of_{range_, "as_completed"},
        order_{keep_first(), deadline, "as_completed"} {}

  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = as_completed_range::value_type;
    using difference_type = std::ptrdiff_t;
    using pointer = value_type*;
    using reference = value_type&;

    reference operator*() const { return *of_->of_.all[*place_]; }
    pointer operator->() const { return of_->of_.all[*place_]; }
    /// Suspends until the next one is done.
    iterator& operator++() {
      place_ = of_->order_.next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.place_ == b.place_; }

   private:
    friend class as_completed_range;
    iterator() noexcept = default;
    explicit iterator(as_completed_range* of) : of_{of} { ++*this; }
    as_completed_range* of_ = nullptr;
    std::optional<std::size_t> place_;
  };

  /// Suspends until the first one is done. Once.
  [[nodiscard]] iterator begin() { return iterator{this}; }
  [[nodiscard]] iterator end() noexcept { return iterator{}; }

 private:
  friend class iterator;

  // Each once, by the handle that stands first.
  std::span<detail::future_base* const> keep_first() {
    const std::vector<std::size_t> places = detail::first_places(of_.futures);
    for (std::size_t i = 0; i < places.size(); ++i) {
      of_.futures[i] = of_.futures[places[i]];
      of_.all[i] = of_.all[places[i]];
    }
    of_.futures.resize(places.size());
    of_.all.resize(places.size());
    return of_.futures;
  }

  Range range_;  // a reference, or what came as an rvalue
  detail::handles<value_type> of_;
  detail::completion_order order_;
};

/// Gives the handles of a range (of tasks, futures, task_view; pointers to them or std::reference_wrapper) in the order
/// in which they end, each once: `for (auto& done : as_completed(tasks)) use(done.get());`.
///
/// Suspends: going on to the next one does. A plain thread blocks. Errors: `done.get()` throws what the task threw, the
/// loop throws only `cancelled`, if its task is cancelled; what is waited for is left alone. Lifetime: an lvalue range
/// must stay as it is; an rvalue is moved in.
template <detail::waitable_range Range>
[[nodiscard]] as_completed_range<Range> as_completed(Range&& handles) {
  return {std::forward<Range>(handles), time_point::max()};
}

/// The same within `timeout`, counted from now: the loop throws timeout_error when it has passed and some are not done.
/// It cancels none.
template <detail::waitable_range Range, class Representation, class Period>
[[nodiscard]] as_completed_range<Range> as_completed(Range&& handles,
                                                     std::chrono::duration<Representation, Period> timeout) {
  return {std::forward<Range>(handles), detail::time_after(now(), detail::to_duration(timeout))};
}

}  // namespace roving

#pragma GCC visibility pop
