// Starting a task.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>

#include <roving/detail/task_base.hpp>
#include <roving/placement.hpp>
#include <roving/task.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

/// What a callable returns when a task calls it.
template <class Function>
using returned_by = std::invoke_result_t<std::decay_t<Function>>;

/// Makes `block` the task of `f`.
template <class Function>
void put_into(task_base& block, Function&& f) {
  using value = returned_by<Function>;
  static_assert(std::is_void_v<value> || std::is_reference_v<value> || std::is_move_constructible_v<value>,
                "what a task returns is moved out of it");
  try {
    task_body<std::decay_t<Function>, value>::construct(block, std::forward<Function>(f));
  } catch (...) {
    abandon_task(block);
    throw;
  }
}

/// A task of `f` that is not visible to anybody yet.
template <class Function>
task_base& make_task(const attributes& what, Function&& f, spawn_site site, const char* call) {
  task_base& block = allocate_task(what, site, call);
  put_into(block, std::forward<Function>(f));
  return block;
}
template <class Function>
task_base& make_task(Function&& f, spawn_site site, const char* call) {
  task_base& block = allocate_task(site, call);
  put_into(block, std::forward<Function>(f));
  return block;
}

template <class Function>
task<returned_by<Function>> spawn_task(const attributes& what, Function&& f, spawn_site site, const char* call) {
  task_base& block = make_task(what, std::forward<Function>(f), site, call);
  start_task(block);
  return detail_access::make_task<returned_by<Function>>(block);
}

}  // namespace detail

/// Starts `f` as a task and returns its handle. The task is placed as its parent is, unless told otherwise:
/// `spawn(anywhere, f)`, `spawn(on_shard(1), f)`, `spawn(attributes{.name = "reader"}, f)`.
///
/// `f` is moved into the task, called once without arguments, and destroyed in the task when it has returned. It runs
/// when its turn comes, not inside spawn() (an eager one does). For fire and forget: `spawn(f).detach()`. Suspends: no.
/// Errors: no_shard, std::out_of_range (no such shard), std::invalid_argument (stack size, eager but not
///   pinned here), std::bad_alloc, what moving `f` throws. Where no stack can be had, the task ends with
///   stack_exhausted.
/// Thread safety: on a shard, in a task or a callback; elsewhere use runtime::submit().
template <class Function>
[[nodiscard]] auto spawn(const attributes& what, Function&& f, spawn_site site = spawn_site::current()) {
  return detail::spawn_task(what, std::forward<Function>(f), site, "spawn");
}

template <class Function>
[[nodiscard]] auto spawn(placement where, Function&& f, spawn_site site = spawn_site::current()) {
  attributes what;
  what.placement = where;
  return detail::spawn_task(what, std::forward<Function>(f), site, "spawn");
}

template <class Function>
[[nodiscard]] auto spawn(Function&& f, spawn_site site = spawn_site::current()) {
  detail::task_base& block = detail::make_task(std::forward<Function>(f), site, "spawn");
  detail::start_task(block);
  return detail_access::make_task<detail::returned_by<Function>>(block);
}

}  // namespace roving

#pragma GCC visibility pop
