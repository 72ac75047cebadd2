// See <roving/shield.hpp>. The meaning, and for pinned tasks the order, is asyncio.shield's.
#include <roving/shield.hpp>

#include <roving/error.hpp>

#include "runtime/wait_state.hpp"

namespace roving::detail {

void shield_future(future_base& inner, const char* call) {
  if (!inner.is_done()) {
    future_base* const one[] = {&inner};
    const future_reference<wait_state> outer{new wait_state{one, wait_condition::all_completed, call}};
    outer->begin();
    outer->wait_until(time_point::max(), call);
    // It is what stands before it that is cancelled, and has no message.
    if (inner.status() == outcome::cancelled) throw cancelled{};
  }
  inner.throw_failure();
}

}  // namespace roving::detail
