// Tasks and futures. See operations.hpp.
//
// Slots and objects hold bare references: a trace program owns nothing, so that nothing is cancelled because a name is
// given to something else.
#include <memory>

#include <roving/error.hpp>

#include "tests/conformance/world.hpp"

namespace conformance {
namespace {

namespace detail = roving::detail;

std::string spawn_as(world& in, const operation& op, bool eager) {
  const std::string slot = op.name(0);
  const std::string name = op.text_or_none(2).value_or("");
  task_handle task = in.spawn(static_cast<std::size_t>(op.number(1)), name.empty() ? slot : name, eager);
  in.put_task(slot, std::move(task));
  return ok;
}

detail::cancel_message message_of(const operation& op) {
  const std::optional<std::string> text = op.text_or_none(1);
  return text ? std::make_shared<const std::string>(*text) : nullptr;
}

value_future& future_of(world& in, const operation& op) { return std::get<value_future>(in.object_of(op.name())); }

void require_set(bool was_set) {
  if (!was_set) throw roving::invalid_state{"it is done already"};
}

}  // namespace

std::string do_spawn(world& in, const operation& op) { return spawn_as(in, op, false); }
std::string do_spawn_eager(world& in, const operation& op) { return spawn_as(in, op, true); }

std::string do_await(world& in, const operation& op) {
  const future_handle awaited = in.find(op.name());
  if (!awaited) return empty;
  if (awaited->await("await")) detail::throw_cancelled();
  awaited->throw_failure();
  return text_of(value_of(*awaited));
}

std::string do_cancel(world& in, const operation& op) {
  const future_handle of = in.find(op.name());
  return of ? text_of_flag(of->cancel(message_of(op))) : empty;
}

std::string do_cancelling(world& in, const operation& op) {
  const task_handle task = in.find_task(op.name());
  return task ? std::to_string(task->cancelling()) : empty;
}

std::string do_uncancel(world& in, const operation& op) {
  const task_handle task = in.find_task(op.name());
  return task ? std::to_string(task->uncancel()) : empty;
}

std::string do_done(world& in, const operation& op) {
  const future_handle of = in.find(op.name());
  return of ? text_of_flag(of->is_done()) : empty;
}

std::string do_cancelled(world& in, const operation& op) {
  const future_handle of = in.find(op.name());
  return of ? text_of_flag(of->status() == detail::outcome::cancelled) : empty;
}

std::string do_result(world& in, const operation& op) {
  const future_handle of = in.find(op.name());
  if (!of) return empty;
  if (!of->is_done()) throw roving::invalid_state{"the result of what is not done"};
  return text_of_outcome(*of);
}

std::string do_exception(world& in, const operation& op) {
  const future_handle of = in.find(op.name());
  if (!of) return empty;
  const std::exception_ptr error = of->error();
  return error ? text_of(error) : "null";
}

std::string do_all_tasks(world&, const operation&) {
  std::string names;
  for (const roving::task_view& task : roving::all_tasks()) {
    if (!names.empty()) names += '+';
    names += task.name();
  }
  return names;
}

std::string do_future(world& in, const operation& op) {
  in.put_future(op.name());
  return ok;
}

std::string do_set(world& in, const operation& op) {
  require_set(future_of(in, op)->set_value(op.plain.at(1)));
  return ok;
}

std::string do_fail(world& in, const operation& op) {
  require_set(future_of(in, op)->set_exception(std::make_exception_ptr(trace_error{op.name(1)})));
  return ok;
}

}  // namespace conformance
