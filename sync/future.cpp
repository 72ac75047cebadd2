// See future.hpp.
#include <roving/future.hpp>

#include <memory>
#include <string>

#include <roving/detail/make_error.hpp>
#include <roving/unhandled.hpp>

#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {

bool cancel_future(future_base& future, const cancel_message& message) noexcept {
  std::exception_ptr thrown;
  if (message) thrown = std::make_exception_ptr(cancelled{message});
  if (!future.begin_completion()) return false;
  future.finish(outcome::cancelled, std::move(thrown));
  return true;
}

bool cancel_future_with(future_base& future, std::string_view message) {
  return future.cancel(std::make_shared<const std::string>(message));
}

void report_unfetched_future(future_base& future) noexcept {
  if (future.status() != outcome::error || future.is_fetched()) return;
  try {
    const unhandled what{"future exception was never retrieved", future.error_unfetched(), {}};
    if (shard* const local = this_shard())
      local->owner().report(what);
    else
      report_on_stderr(what);
  } catch (...) {  // no memory for the report
  }
}

void break_promise(future_base& future) noexcept {
  if (!future.begin_completion()) return;
  future.set_fetched();  // if nobody waits, nobody minds
  future.finish(outcome::error, make_error<broken_promise>());
}

void await_future(future_base& future, const char* call) {
  if (future.await(call)) throw_cancelled();
  future.throw_failure();
}

bool wait_for_future(future_base& future, const char* call, time_point deadline) {
  const wait_end end = future.wait(call, deadline);
  if (end == wait_end::cancelled) throw_cancelled();
  return end == wait_end::event;
}

}  // namespace roving::detail
