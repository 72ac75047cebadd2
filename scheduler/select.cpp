// The core of select(): see <roving/detail/select_operation.hpp>.
//
// I1  Waiters are in line only within wait(): it takes all out before it looks at what came of it.
// I2  Of the waiters of one wait at most one is granted, and none if the wait ended by itself in enlist_all(), by its
//     deadline, or by a cancel that came first.
#include <roving/detail/select_operation.hpp>

#include <algorithm>

#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>

namespace roving::detail {

class selection {
 public:
  explicit selection(std::span<select_operation* const> alternatives) noexcept : all_{alternatives} {}

  // The first that can be done at once.
  [[nodiscard]] std::size_t try_each() const {
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (all_[i] != nullptr && all_[i]->try_now()) return i;
    return all_.size();
  }

  // The one that came true, taken out of line like all others. Throws cancelled, not_in_task.
  [[nodiscard]] select_operation& wait(std::size_t& which) {
    waiter self{"select"};
    enlisted_ = 0;
    which = all_.size();
    std::size_t by_itself = all_.size();
    time_point deadline = time_point::max();
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (all_[i] == nullptr) continue;
      all_[i]->waits_.emplace(*self.who);  // before the wait opens: it has the epoch that comes next
      if (all_[i]->deadline() >= deadline) continue;
      deadline = all_[i]->deadline();
      by_itself = i;
    }
    const wait_end end = park_among(
        self, [](void* of) noexcept { static_cast<selection*>(of)->enlist_all(); }, this, deadline);
    for (std::size_t i = 0; i < enlisted_; ++i) {
      if (all_[i] != nullptr && all_[i]->delist(*all_[i]->waits_, end != wait_end::cancelled)) which = i;  // I2
    }
    if (end == wait_end::cancelled) throw_cancelled();
    if (end == wait_end::timeout)
      which = by_itself;
    else if (which == all_.size())
      which = enlisted_;  // its enlist() ended the wait
    return *all_[which];
  }

 private:
  void enlist_all() noexcept {
    for (; enlisted_ < all_.size(); ++enlisted_) {
      select_operation* const each = all_[enlisted_];
      if (each == nullptr) continue;
      if (each->enlist(*each->waits_)) continue;
      ready_list nobody;                                  // the wait was not parked
      (void)claim(*each->waits_, winner::event, nobody);  // if another one was first, this is as if it never was
      return;
    }
  }

  const std::span<select_operation* const> all_;
  std::size_t enlisted_ = 0;  // how many were asked, and stand in line
};

std::size_t select_among(std::span<select_operation* const> alternatives, bool may_wait) {
  const bool none_counts = std::all_of(alternatives.begin(), alternatives.end(),
                                       [](const select_operation* each) { return each == nullptr; });
  if (none_counts && may_wait)
    throw broken_contract{"select: no alternative counts, so it would wait for ever; it needs an otherwise()"};
  for (selection all{alternatives};;) {
    std::size_t chosen = all.try_each();
    if (chosen != alternatives.size() || !may_wait) return chosen;
    if (all.wait(chosen).finish()) return chosen;
  }
}

done_operation::done_operation(future_base& of, const char* call) : of_{future_reference<>::share(of)} {
  if (of.is_task() && current_task() == static_cast<task_base*>(&of))
    throw broken_contract{std::string{call} + ": a task can't wait for itself"};
}

done_operation::node::node() noexcept
    : done_node{[](done_node& self) noexcept -> ready_node* {
        ready_list wakes;
        grant(*static_cast<node&>(self).waits, wakes);
        return wakes.pop();
      }} {}

bool done_operation::enlist(waiter& self) noexcept {
  node_.waits = &self;
  return of_->subscribe(node_);
}

bool done_operation::delist(waiter& self, bool) noexcept {
  of_->unsubscribe(node_);  // under its lock: who completes it may be at the node at this moment
  return self.granted;
}

}  // namespace roving::detail
