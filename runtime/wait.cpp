// See <roving/wait.hpp> and wait_state.hpp. The meaning, and for pinned tasks the order, is asyncio.wait's.
#include <roving/wait.hpp>

#include <mutex>
#include <stdexcept>
#include <string>

#include <roving/detail/wait.hpp>

#include "runtime/wait_state.hpp"

namespace roving::detail {

void wait_state::told(node& ended) noexcept {
  bool holds = false;
  {
    const std::lock_guard guard{lock()};
    holds = --left_ == 0;
  }
  holds = holds || condition_ == wait_condition::first_completed ||
      (condition_ == wait_condition::first_exception && ended.watched->status() == outcome::error);
  if (holds && begin_completion()) finish(outcome::value);
}

void wait_state::wait_until(time_point deadline, const char* call) {
  const wait_end end = wait(call, deadline);
  forget_all();
  if (end == wait_end::cancelled) throw_cancelled();
}

void wait_for_futures(std::span<future_base* const> futures, wait_condition condition, time_point deadline,
                      const char* call) {
  if (futures.empty()) throw std::invalid_argument{std::string{call} + ": nothing to wait for"};
  const future_reference<wait_state> enough{new wait_state{futures, condition, call}};
  enough->begin();
  enough->wait_until(deadline, call);
}

}  // namespace roving::detail
