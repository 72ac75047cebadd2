// Timeouts, what waits for several at once, groups, and task-local variables. See operations.hpp.
//
// Which futures an operation is about is known at run time only, so the cores below the handles' templates are called.
#include <algorithm>
#include <chrono>
#include <utility>

#include "tests/conformance/world.hpp"

namespace conformance {
namespace {

namespace detail = roving::detail;

std::chrono::milliseconds span_of(std::int64_t ms) { return std::chrono::milliseconds{ms}; }

std::optional<roving::time_point> deadline_of(std::optional<std::int64_t> ms) {
  if (!ms) return std::nullopt;
  return detail::time_after(roving::now(), span_of(*ms));
}

std::string outcome_of(const future_handle& of) {
  of->throw_failure();
  return text_of(value_of(*of));
}

// The futures of a list, without the names that hold nothing.
struct named_futures {
  named_futures(world& in, const std::vector<scalar>& list) {
    for (const scalar& item : list) {
      const auto& name = std::get<std::string>(item);
      if (future_handle of = in.find(name)) add(name, std::move(of));
    }
  }

  void add(const std::string& name, future_handle of) {
    futures.push_back(of.get());
    names.push_back(name);
    kept.push_back(std::move(of));
  }

  // Each once, by the name that stands first.
  void keep_first() {
    std::size_t size = 0;
    for (std::size_t i = 0; i < futures.size(); ++i) {
      if (std::find(futures.begin(), futures.begin() + static_cast<std::ptrdiff_t>(size), futures[i]) !=
          futures.begin() + static_cast<std::ptrdiff_t>(size))
        continue;
      futures[size] = futures[i];
      names[size++] = names[i];
    }
    futures.resize(size);
    names.resize(size);
  }

  std::vector<detail::future_base*> futures;
  std::vector<std::string> names;
  std::vector<future_handle> kept;
};

// As gather_settled() takes them: the message of a cancelled task is left to who awaits it.
std::string text_of_results(const std::vector<detail::future_base*>& of) {
  std::string text = "[";
  for (detail::future_base* const each : of) {
    if (text.size() > 1) text += ',';
    const std::exception_ptr failure = detail::failure_of(*each);
    text += failure ? text_of(failure) : text_of(value_of(*each));
  }
  return text += ']';
}

}  // namespace

std::string do_shield(world& in, const operation& op) {
  const future_handle inner = in.find(op.name());
  if (!inner) return empty;
  detail::shield_future(*inner, "shield");
  return outcome_of(inner);
}

// --- timeouts --------------------------------------------------------------------------------------------------------

returned do_timeout(world& in, const operation& op) {
  const auto timer = std::make_shared<timer_record>();
  in.put_timer(op.name(), timer);
  returned result;
  roving::with_deadline(deadline_of(op.number_or_null(1)), [&](roving::timeout_scope& scope) {
    struct inside {
      inside(timer_record& of, roving::timeout_scope& now_in) : timer_{of} { timer_.scope = &now_in; }
      inside(const inside&) = delete;
      inside& operator=(const inside&) = delete;
      ~inside() {
        timer_.has_expired = timer_.scope->expired();
        timer_.scope = nullptr;
      }
      timer_record& timer_;
    };
    const inside entered{*timer, scope};
    in.log(op.text, "enter");
    result = in.run_operations(op.inner);
  });
  return result;
}

std::string do_reschedule(world& in, const operation& op) {
  const std::shared_ptr<timer_record> timer = in.find_timer(op.name());
  if (!timer) return empty;
  if (timer->scope == nullptr) throw python_error::runtime_error;  // was left
  timer->scope->reschedule(deadline_of(op.number_or_null(1)));
  return ok;
}

std::string do_expired(world& in, const operation& op) {
  const std::shared_ptr<timer_record> timer = in.find_timer(op.name());
  if (!timer) return empty;
  return text_of_flag(timer->scope != nullptr ? timer->scope->expired() : timer->has_expired);
}

std::string do_wait_for(world& in, const operation& op) {
  const future_handle of = in.find(op.name());
  if (!of) return empty;
  const std::optional<std::int64_t> ms = op.number_or_null(1);
  detail::await_within(*of, ms ? span_of(*ms) : roving::duration::max(), "wait_for");
  return outcome_of(of);
}

// The body runs inside the current task, unless its time has passed: then it is a task that is cancelled before its
// first step.
std::string do_wait_for_call(world& in, const operation& op) {
  const auto body = static_cast<std::size_t>(op.number(0));
  const std::optional<std::int64_t> ms = op.number_or_null(1);
  if (ms && *ms <= 0) {
    const auto task = future_handle::share(*in.spawn(body, join({"body", std::to_string(body)})));
    detail::await_within(*task, span_of(*ms), "wait_for");
    return outcome_of(task);
  }
  const returned result =
      roving::with_deadline(deadline_of(ms), [&](roving::timeout_scope&) { return in.run_inline(body); });
  return text_of(result.value_or(value{}));
}

// --- several at once -------------------------------------------------------------------------------------------------

std::string do_gather(world& in, const operation& op) {
  named_futures items{in, {}};
  for (const scalar& item : op.list) {
    if (const auto* const body = std::get_if<std::int64_t>(&item)) {
      const std::string name = join({"body", std::to_string(*body)});
      items.add(name, future_handle::share(*in.spawn(static_cast<std::size_t>(*body), name)));
    } else if (future_handle of = in.find(std::get<std::string>(item))) {
      items.add(std::get<std::string>(item), std::move(of));
    }
  }
  const bool settled = op.flag(0);
  detail::gather_futures(items.futures, settled ? detail::gather_rule::settled : detail::gather_rule::first_failure,
                         "gather");
  return text_of_results(items.futures);
}

std::string do_wait(world& in, const operation& op) {
  named_futures items{in, op.list};
  items.keep_first();
  const std::string& when = op.name(0);
  const auto condition = when == "ALL_COMPLETED" ? roving::all_completed
      : when == "FIRST_COMPLETED"                ? roving::first_completed
                                                 : roving::first_exception;
  const std::optional<roving::time_point> deadline = deadline_of(op.number_or_null(1));
  detail::wait_for_futures(items.futures, condition, deadline.value_or(roving::time_point::max()), "wait");
  std::string done;
  std::string pending;
  for (std::size_t i = 0; i < items.futures.size(); ++i) {
    std::string& names = items.futures[i]->is_done() ? done : pending;
    if (!names.empty()) names += '+';
    names += items.names[i];
  }
  return join({"done=", done, ",pending=", pending});
}

returned do_as_completed(world& in, const operation& op) {
  named_futures items{in, op.list};
  items.keep_first();
  const std::optional<roving::time_point> deadline = deadline_of(op.number_or_null(0));
  detail::completion_order order{items.futures, deadline.value_or(roving::time_point::max()), "as_completed"};
  while (const std::optional<std::size_t> place = order.next()) {
    in.log(op.text, join({items.names[*place], "=", text_of_outcome(*items.futures[*place])}));
    if (returned result = in.run_operations(op.inner)) return result;
  }
  return std::nullopt;
}

returned do_group(world& in, const operation& op) {
  const auto record = std::make_shared<group_record>();
  struct leaving {
    ~leaving() { of.group = nullptr; }
    group_record& of;
  };
  const leaving at_the_end{*record};
  returned result;
  roving::with_task_group([&](roving::task_group& group) {
    record->group = &group;
    in.put_group(op.name(), record);
    in.log(op.text, "enter");
    result = in.run_operations(op.inner);
  });
  return result;
}

std::string do_group_spawn(world& in, const operation& op) {
  const std::shared_ptr<group_record> record = in.find_group(op.name(0));
  if (!record) return empty;
  if (record->group == nullptr) throw python_error::runtime_error;  // was left
  const std::string& slot = op.name(1);
  const std::string name = op.text_or_none(3).value_or("");
  in.put_task(slot, in.spawn_in(*record->group, static_cast<std::size_t>(op.number(2)), name.empty() ? slot : name));
  return ok;
}

// --- task-local variables --------------------------------------------------------------------------------------------

std::string do_set_var(world& in, const operation& op) {
  in.get<roving::context_var<value>>(op.name()).set(op.plain.at(1));
  return ok;
}

std::string do_get_var(world& in, const operation& op) {
  return text_of(in.get<roving::context_var<value>>(op.name()).get());
}

}  // namespace conformance
