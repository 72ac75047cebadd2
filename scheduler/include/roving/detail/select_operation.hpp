// What select() knows of its alternatives: something that can be tried, waited for, and done when the wait was its own.
//
//     try each in turn; if one could be done, that is all
//     open the wait of this task, then for each: enlist()   from here on whoever makes one true may claim the task
//     park
//     for each: delist()                                    says whose grant it was, or passes the grant on
//     finish() that one; in vain: all over again
//
// All waiters of a select stand for one wait of one task, so that at most one of them is ever granted: who grants takes
// the same claim. Each alternative takes its own lock in enlist() and in delist(), and no two locks are held at once.
//
// What a grant means is the alternative's affair. A permit that was given, an event that was set, a future that is done
// are the select's by the grant. A queue only wakes: finish() tries, and a newcomer may have been faster.
//
// Rejected: one list node for all alternatives (each waits in a line of its own), and reserving an item for whoever was
// woken (the queues are asyncio's: an item is taken by the one who runs).
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include <roving/detail/future_base.hpp>
#include <roving/detail/wait.hpp>
#include <roving/time.hpp>

namespace roving::detail {

class selection;

#pragma GCC visibility push(default)

class select_operation {
 public:
  select_operation() = default;
  select_operation(const select_operation&) = delete;
  select_operation& operator=(const select_operation&) = delete;
  virtual ~select_operation() = default;

  /// Does it, if that can be done at once. Does not suspend. Throws what it comes to.
  [[nodiscard]] virtual bool try_now() = 0;

  /// Puts `self` in line. False, and nothing to take out, when there is no need to: it may be done, or has something to
  /// throw.
  [[nodiscard]] virtual bool enlist(waiter& self) noexcept = 0;

  /// Takes `self`, which enlist() put there, out of the line. Whether it had been granted; if so and not `keep`, the
  /// grant is passed on.
  [[nodiscard]] virtual bool delist(waiter& self, bool keep) noexcept = 0;

  /// Does it after its grant, or after enlist() said that there is no need to wait. False when that was in vain. Throws
  /// what it comes to.
  [[nodiscard]] virtual bool finish() { return try_now(); }

  /// When it comes true by itself; finish() is called then.
  [[nodiscard]] virtual time_point deadline() const noexcept { return time_point::max(); }

 private:
  friend class selection;
  std::optional<waiter> waits_;
};

/// Does exactly one of `alternatives`, of which null ones do not count, and says which. If none can be done at once it
/// waits or, if it may not, does nothing and gives their number. Throws broken_contract where it would wait for ever,
/// not_in_task, cancelled, and what the alternatives throw.
[[nodiscard]] std::size_t select_among(std::span<select_operation* const> alternatives, bool may_wait);

/// An operation with the function that is called when it was done, with what the operation gives, if anything.
template <class Operation, class Function>
class select_case final : public Operation {
 public:
  template <class Handler, class... Arguments>
  explicit select_case(Handler&& f, Arguments&&... arguments)
      : Operation{std::forward<Arguments>(arguments)...}, function_{std::forward<Handler>(f)} {}

  /// Counts only if `condition` holds.
  [[nodiscard]] select_case&& when(bool condition) && noexcept {
    is_off_ = !condition;
    return std::move(*this);
  }

  /// Null if it does not count.
  [[nodiscard]] select_operation* operation() noexcept { return is_off_ ? nullptr : this; }

  decltype(auto) complete() {
    if constexpr (requires(Operation & done) { done.take(); })
      return std::invoke(function_, this->take());
    else
      return std::invoke(function_);
  }

 private:
  Function function_;
  bool is_off_ = false;
};

/// What is chosen when nothing else can be done at once.
template <class Function>
class otherwise_case final {
 public:
  explicit otherwise_case(Function f) : function_{std::move(f)} {}
  otherwise_case(const otherwise_case&) = delete;
  otherwise_case& operator=(const otherwise_case&) = delete;

  [[nodiscard]] static constexpr select_operation* operation() noexcept { return nullptr; }
  decltype(auto) complete() { return std::invoke(function_); }

 private:
  Function function_;
};

/// A future or a task that is done, however it ended. Nothing is fetched, and a cancel is not passed on.
class done_operation : public select_operation {
 public:
  /// Throws broken_contract for the task that calls this.
  done_operation(future_base& of, const char* call);

  [[nodiscard]] bool try_now() final { return of_->is_done(); }
  [[nodiscard]] bool enlist(waiter& self) noexcept final;
  [[nodiscard]] bool delist(waiter& self, bool keep) noexcept final;

 private:
  struct node : done_node {
    node() noexcept;
    waiter* waits = nullptr;
  };
  future_reference<> of_;
  node node_;
};

template <class Function>
[[nodiscard]] auto when_done(future_base& of, Function&& f, const char* call) {
  return select_case<done_operation, std::decay_t<Function>>{std::forward<Function>(f), of, call};
}

}  // namespace roving::detail

#pragma GCC visibility pop
