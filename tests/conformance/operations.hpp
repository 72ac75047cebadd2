// The operations of the language: a table of names, and for each the function that makes roving do it.
// operation_table.cpp has the table; the functions are grouped as in oracle/LANGUAGE.md.
//
//   sync     never suspends; what it throws is its outcome
//   wait     may suspend; logs its outcome when it returns or throws
//   scope    holds operations; logs `enter` itself and its outcome when it is left
//   control  logs what it has to say itself
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tests/conformance/outcome.hpp"
#include "tests/conformance/program.hpp"

namespace conformance {

class world;

/// What a `return` says on its way out of a body; nothing when the operations just ended.
using returned = std::optional<value>;

enum class operation_kind { sync, wait, scope, control };

struct operation_entry {
  using outcome_function = std::string (*)(world&, const operation&);  // sync, wait: gives the outcome's text
  using holder_function = returned (*)(world&, const operation&);      // scope, control

  std::string_view name;
  operation_kind kind;
  std::string_view arguments;  // p: plain, l: a list, o: operations, h: handlers
  outcome_function call = nullptr;
  holder_function hold = nullptr;
};

/// Null when there is none of that name.
[[nodiscard]] const operation_entry* find_operation(std::string_view name);

inline const std::string ok = "ok";
inline const std::string empty = "empty";
inline std::string text_of_flag(bool flag) { return flag ? "true" : "false"; }

// operations_control.cpp
std::string do_log(world&, const operation&);
returned do_repeat(world&, const operation&);
returned do_try(world&, const operation&);
returned do_raise(world&, const operation&);
returned do_rethrow(world&, const operation&);
returned do_return(world&, const operation&);
std::string do_yield(world&, const operation&);
std::string do_sleep(world&, const operation&);

// operations_tasks.cpp
std::string do_spawn(world&, const operation&);
std::string do_spawn_eager(world&, const operation&);
std::string do_await(world&, const operation&);
std::string do_cancel(world&, const operation&);
std::string do_cancelling(world&, const operation&);
std::string do_uncancel(world&, const operation&);
std::string do_done(world&, const operation&);
std::string do_cancelled(world&, const operation&);
std::string do_result(world&, const operation&);
std::string do_exception(world&, const operation&);
std::string do_all_tasks(world&, const operation&);
std::string do_future(world&, const operation&);
std::string do_set(world&, const operation&);
std::string do_fail(world&, const operation&);

// operations_callbacks.cpp
std::string do_post(world&, const operation&);
std::string do_later(world&, const operation&);
std::string do_cancel_handle(world&, const operation&);
std::string do_handle_cancelled(world&, const operation&);
std::string do_on_done(world&, const operation&);
std::string do_off_done(world&, const operation&);

// operations_sync.cpp
returned do_with(world&, const operation&);
std::string do_acquire(world&, const operation&);
std::string do_try_acquire(world&, const operation&);
std::string do_release(world&, const operation&);
std::string do_locked(world&, const operation&);
std::string do_wait_cond(world&, const operation&);
std::string do_notify(world&, const operation&);
std::string do_notify_all(world&, const operation&);
std::string do_wait_event(world&, const operation&);
std::string do_set_event(world&, const operation&);
std::string do_clear_event(world&, const operation&);
std::string do_is_set(world&, const operation&);
std::string do_put(world&, const operation&);
std::string do_get(world&, const operation&);
std::string do_join(world&, const operation&);
std::string do_put_nowait(world&, const operation&);
std::string do_get_nowait(world&, const operation&);
std::string do_task_done(world&, const operation&);
std::string do_qsize(world&, const operation&);
std::string do_shutdown(world&, const operation&);
std::string do_barrier_wait(world&, const operation&);
std::string do_barrier_abort(world&, const operation&);
std::string do_barrier_reset(world&, const operation&);
std::string do_n_waiting(world&, const operation&);
std::string do_broken(world&, const operation&);

// operations_several.cpp
std::string do_shield(world&, const operation&);
returned do_timeout(world&, const operation&);
std::string do_reschedule(world&, const operation&);
std::string do_expired(world&, const operation&);
std::string do_wait_for(world&, const operation&);
std::string do_wait_for_call(world&, const operation&);
std::string do_gather(world&, const operation&);
std::string do_wait(world&, const operation&);
returned do_as_completed(world&, const operation&);
returned do_group(world&, const operation&);
std::string do_group_spawn(world&, const operation&);
std::string do_set_var(world&, const operation&);
std::string do_get_var(world&, const operation&);

}  // namespace conformance
