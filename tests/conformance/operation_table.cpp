// The table of operations. See operations.hpp.
#include <algorithm>
#include <array>

#include "tests/conformance/operations.hpp"

namespace conformance {
namespace {

constexpr operation_entry sync(std::string_view name, std::string_view arguments, operation_entry::outcome_function f) {
  return {name, operation_kind::sync, arguments, f, nullptr};
}
constexpr operation_entry wait(std::string_view name, std::string_view arguments, operation_entry::outcome_function f) {
  return {name, operation_kind::wait, arguments, f, nullptr};
}
constexpr operation_entry scope(std::string_view name, std::string_view arguments, operation_entry::holder_function f) {
  return {name, operation_kind::scope, arguments, nullptr, f};
}
constexpr operation_entry control(std::string_view name, std::string_view arguments,
                                  operation_entry::holder_function f) {
  return {name, operation_kind::control, arguments, nullptr, f};
}

constexpr std::array table{
    sync("log", "p", do_log),
    control("repeat", "po", do_repeat),
    control("try", "oh", do_try),
    control("raise", "p", do_raise),
    control("rethrow", "", do_rethrow),
    control("return", "p", do_return),
    wait("yield", "", do_yield),
    wait("sleep", "p", do_sleep),

    sync("post", "pp", do_post),
    sync("later", "ppp", do_later),
    sync("cancel_handle", "p", do_cancel_handle),
    sync("handle_cancelled", "p", do_handle_cancelled),
    sync("on_done", "pp", do_on_done),
    sync("off_done", "pp", do_off_done),

    sync("spawn", "ppp", do_spawn),
    sync("spawn_eager", "ppp", do_spawn_eager),
    wait("await", "p", do_await),
    sync("cancel", "pp", do_cancel),
    sync("cancelling", "p", do_cancelling),
    sync("uncancel", "p", do_uncancel),
    sync("done", "p", do_done),
    sync("cancelled", "p", do_cancelled),
    sync("result", "p", do_result),
    sync("exception", "p", do_exception),
    sync("all_tasks", "", do_all_tasks),
    sync("future", "p", do_future),
    sync("set", "pp", do_set),
    sync("fail", "pp", do_fail),

    scope("with", "po", do_with),
    wait("acquire", "p", do_acquire),
    sync("try_acquire", "p", do_try_acquire),
    sync("release", "p", do_release),
    sync("locked", "p", do_locked),
    wait("wait_cond", "p", do_wait_cond),
    sync("notify", "pp", do_notify),
    sync("notify_all", "p", do_notify_all),
    wait("wait_event", "p", do_wait_event),
    sync("set_event", "p", do_set_event),
    sync("clear_event", "p", do_clear_event),
    sync("is_set", "p", do_is_set),
    wait("put", "pp", do_put),
    wait("get", "p", do_get),
    wait("join", "p", do_join),
    sync("put_nowait", "pp", do_put_nowait),
    sync("get_nowait", "p", do_get_nowait),
    sync("task_done", "p", do_task_done),
    sync("qsize", "p", do_qsize),
    sync("shutdown", "pp", do_shutdown),
    wait("barrier_wait", "p", do_barrier_wait),
    wait("barrier_abort", "p", do_barrier_abort),
    wait("barrier_reset", "p", do_barrier_reset),
    sync("n_waiting", "p", do_n_waiting),
    sync("broken", "p", do_broken),

    wait("shield", "p", do_shield),
    scope("timeout", "ppo", do_timeout),
    sync("reschedule", "pp", do_reschedule),
    sync("expired", "p", do_expired),
    wait("wait_for", "pp", do_wait_for),
    wait("wait_for_call", "pp", do_wait_for_call),
    wait("gather", "lp", do_gather),
    wait("wait", "lpp", do_wait),
    scope("as_completed", "lpo", do_as_completed),
    scope("group", "po", do_group),
    sync("group_spawn", "pppp", do_group_spawn),
    sync("set_var", "pp", do_set_var),
    sync("get_var", "p", do_get_var),
};

}  // namespace

const operation_entry* find_operation(std::string_view name) {
  const auto found =
      std::find_if(table.begin(), table.end(), [name](const operation_entry& entry) { return entry.name == name; });
  return found != table.end() ? &*found : nullptr;
}

}  // namespace conformance
