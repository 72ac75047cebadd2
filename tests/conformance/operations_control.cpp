// Control and time: the flow of a body, and yielding. See operations.hpp.
//
// Handlers run inside the catch block of what they handle, also where they suspend, and `rethrow` is a bare `throw`: so
// every program with handlers also shows that each fiber has its own stack of caught exceptions.
#include <chrono>
#include <exception>

#include <roving/sleep.hpp>

#include "tests/conformance/world.hpp"

namespace conformance {
namespace {

returned run_handled(world& in, const operation& op) {
  try {
    return in.run_operations(op.inner);
  } catch (const trace_ended&) {
    throw;
  } catch (const roving::cancelled&) {
    if (!op.on_cancelled) throw;
    in.log("caught", text_of_current_exception());
    return in.run_operations(*op.on_cancelled);
  } catch (...) {
    if (!op.on_error) throw;
    in.log("caught", text_of_current_exception());
    return in.run_operations(*op.on_error);
  }
}

}  // namespace

std::string do_log(world&, const operation&) { return ok; }

returned do_repeat(world& in, const operation& op) {
  for (std::int64_t i = 0; i < op.number(0); ++i)
    if (returned result = in.run_operations(op.inner)) return result;
  return std::nullopt;
}

returned do_try(world& in, const operation& op) {
  if (!op.finally) return run_handled(in, op);
  std::exception_ptr thrown;
  returned result;
  try {
    result = run_handled(in, op);
  } catch (const trace_ended&) {
    throw;
  } catch (...) {
    thrown = std::current_exception();
  }
  in.run_operations(*op.finally);  // outside the catch block, so that `rethrow` means the handler around it
  if (thrown) std::rethrow_exception(thrown);
  return result;
}

returned do_raise(world& in, const operation& op) {
  in.log(op.text, join({"Error(", op.name(), ")"}));
  throw trace_error{op.name()};
}

returned do_rethrow(world& in, const operation& op) {
  in.log(op.text, text_of_current_exception());
  throw;
}

returned do_return(world&, const operation& op) { return op.plain.at(0); }

std::string do_yield(world&, const operation&) {
  roving::yield();
  return ok;
}

std::string do_sleep(world&, const operation& op) {
  roving::sleep_for(std::chrono::milliseconds{op.number(0)});
  return ok;
}

}  // namespace conformance
