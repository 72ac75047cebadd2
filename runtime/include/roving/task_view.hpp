// Tasks seen from aside: who is there, and what it does.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <roving/detail/select_operation.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/done_callback.hpp>
#include <roving/placement.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {
struct future_access;  // for the library: the state behind a handle
}

/// A handle of a task that does not own it: copied freely, destroyed without consequence for the task.
///
/// Thread safety: any thread, at once; what it says may be past when it is read. Lifetime: may outlive task and
/// runtime. Errors: invalid_state when it is default made.
class task_view {
 public:
  task_view() noexcept = default;

  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(state_); }

  [[nodiscard]] std::string name() const;
  void set_name(std::string_view name) const;

  /// Whether any shard may run it.
  [[nodiscard]] bool is_roving() const;

  /// The shard to which it is pinned; nothing when it roves.
  [[nodiscard]] std::optional<unsigned> shard() const;

  /// Where it was spawned.
  [[nodiscard]] spawn_site site() const;

  /// The call in which it is parked, for example "mutex::lock"; null when it runs, is ready or has ended.
  [[nodiscard]] const char* waits_in() const;

  /// As the task's own handle.
  [[nodiscard]] bool done() const;
  [[nodiscard]] bool cancelled() const;
  [[nodiscard]] std::exception_ptr exception() const;
  bool cancel() const;
  bool cancel(std::string_view message) const;
  std::uint32_t uncancel() const;
  [[nodiscard]] std::uint32_t cancelling() const;
  void join() const;

  template <class Function>
  done_callback on_done(Function&& f, spawn_site site = spawn_site::current()) const {
    return detail::add_done_callback(state("task_view::on_done"), std::forward<Function>(f), site,
                                     "task_view::on_done");
  }
  std::size_t remove_on_done(const done_callback& what) const {
    return detail::remove_done_callback(state("task_view::remove_on_done"), what);
  }
  template <class Function>
  [[nodiscard]] auto on_ready(Function&& f) const {
    return detail::when_done(state("task_view::on_ready"), std::forward<Function>(f), "task_view::on_ready");
  }

  /// Whether both stand for the same task.
  friend bool operator==(const task_view& a, const task_view& b) noexcept { return a.state_ == b.state_; }

  /// For the library.
  explicit task_view(detail::future_reference<detail::task_base> of) noexcept : state_{std::move(of)} {}

 protected:
  friend struct detail::future_access;
  [[nodiscard]] detail::task_base& state(const char* call) const;
  detail::future_reference<detail::task_base> state_;
};

/// The tasks of the current runtime that are not done, in the order in which they were spawned on each shard; with a
/// number, those pinned to that shard.
///
/// Suspends: no. Tasks that are spawned meanwhile, elsewhere, may be in it or not; all that were there before and are
/// not done are. Errors: no_shard; std::bad_alloc. Thread safety: on a shard; from plain threads runtime::all_tasks().
[[nodiscard]] std::vector<task_view> all_tasks();
[[nodiscard]] std::vector<task_view> all_tasks(unsigned shard);

namespace detail {
[[nodiscard]] std::vector<task_view> views_of(std::vector<future_reference<task_base>> tasks);
}

}  // namespace roving

#pragma GCC visibility pop
