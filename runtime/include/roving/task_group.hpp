// Tasks that end together.
#pragma once

#include <type_traits>
#include <utility>

#include <roving/detail/call_reference.hpp>
#include <roving/error.hpp>
#include <roving/exception_group.hpp>
#include <roving/placement.hpp>
#include <roving/shared_task.hpp>
#include <roving/spawn.hpp>

namespace roving {
namespace detail {

class task_group_core;

#pragma GCC visibility push(default)

/// Throws task_group_closed.
void check_open(const task_group_core& group);

/// Starts a task in a group; leaves one reference with the caller. If it throws, the task is gone.
void start_in(task_group_core& group, task_base& task);

void cancel_group(task_group_core& group);

}  // namespace detail

/// The group takes no more tasks: it is being cancelled, or has ended.
class task_group_closed : public broken_contract {
 public:
  using broken_contract::broken_contract;
};

/// What with_task_group() passes to its body.
///
/// Thread safety: all of it, any thread of the runtime, as long as the group has not ended.
/// Lifetime: ends when with_task_group() returns or throws; a task of the group may use it until it has ended.
class task_group {
 public:
  /// Starts `f` as a task of the group, as roving::spawn() does, and returns a handle that may be dropped: the group
  /// waits for the task, and has its errors.
  ///
  /// Suspends: no. Errors: task_group_closed when the group is being cancelled or has ended, `f` is not moved from
  /// then; as roving::spawn().
  template <class Function>
  auto spawn(Function&& f, spawn_site site = spawn_site::current()) {
    detail::check_open(core_);
    return start<Function>(detail::make_task(std::forward<Function>(f), site, "task_group::spawn"));
  }
  template <class Function>
  auto spawn(placement where, Function&& f, spawn_site site = spawn_site::current()) {
    attributes what;
    what.placement = where;
    return spawn(what, std::forward<Function>(f), site);
  }
  template <class Function>
  auto spawn(const attributes& what, Function&& f, spawn_site site = spawn_site::current()) {
    detail::check_open(core_);
    return start<Function>(detail::make_task(what, std::forward<Function>(f), site, "task_group::spawn"));
  }

  /// Cancels all tasks of the group and its body; with_task_group() then returns as if all had gone well, unless
  /// something fails on the way. Once is enough; does nothing when the group has ended. Does not suspend.
  void cancel() { detail::cancel_group(core_); }

  /// For the library.
  explicit task_group(detail::task_group_core& core) noexcept : core_{core} {}
  task_group(const task_group&) = delete;
  task_group& operator=(const task_group&) = delete;

 private:
  template <class Function>
  shared_task<detail::returned_by<Function>> start(detail::task_base& task) {
    detail::start_in(core_, task);
    return shared_task<detail::returned_by<Function>>{task};
  }

  detail::task_group_core& core_;
};

namespace detail {
void run_task_group(call_reference<void(task_group&)> body);
}

/// Calls `body(task_group&)` and waits for all tasks that were spawned in the group, also by each other. When one of
/// them fails, or the body does, the others and the body are cancelled, and what failed is thrown together when all
/// have ended.
///
/// Suspends: yes, until all have ended. Errors: exception_group of what the tasks threw, in the order in which they
/// ended, then what the body threw; a task that was cancelled alone does not count. `cancelled` if the caller was
/// cancelled and nothing failed; if both, the exception_group, and `cancelled` again at the next suspension.
/// not_in_task. Lifetime: never returns or throws before all tasks of the group have ended.
template <class Body>
void with_task_group(Body&& body) {
  static_assert(std::is_void_v<std::invoke_result_t<Body&, task_group&>>,
                "the body returns nothing: if the group is cancelled there would be nothing to return");
  detail::run_task_group(detail::call_reference<void(task_group&)>{body});
}

}  // namespace roving

#pragma GCC visibility pop
