// See outcome.hpp. One line for each kind of exception in which roving and asyncio say the same.
#include "tests/conformance/outcome.hpp"

#include <exception>

#include <roving/detail/task_base.hpp>
#include <roving/roving.hpp>

namespace conformance {

std::string text_of_current_exception() {
  try {
    throw;
  } catch (const roving::cancelled& thrown) {
    return thrown.message().empty() ? "Cancelled" : join({"Cancelled(", thrown.message(), ")"});
  } catch (const trace_error& thrown) {
    return join({"Error(", thrown.what(), ")"});
  } catch (const roving::timeout_error&) {
    return "TimeoutError";
  } catch (const roving::invalid_state&) {
    return "InvalidState";
  } catch (const roving::queue_shut_down&) {
    return "QueueShutDown";
  } catch (const roving::broken_barrier&) {
    return "BrokenBarrier";
  } catch (const roving::released_too_often&) {
    return "ValueError";
  } catch (const roving::done_too_often&) {
    return "ValueError";
  } catch (const roving::broken_contract&) {
    return "RuntimeError";
  } catch (const python_error kind) {
    switch (kind) {
      case python_error::queue_full:
        return "QueueFull";
      case python_error::queue_empty:
        return "QueueEmpty";
      case python_error::value_error:
        return "ValueError";
      case python_error::runtime_error:
        return "RuntimeError";
    }
    return "?";
  } catch (const std::invalid_argument&) {
    return "ValueError";
  } catch (const roving::exception_group& thrown) {
    std::string text = "ExceptionGroup[";
    for (const std::exception_ptr& each : thrown.exceptions()) {
      if (text.back() != '[') text += ',';
      text += text_of(each);
    }
    return text += ']';
  } catch (const std::exception& thrown) {
    return join({"Unexpected(", thrown.what(), ")"});
  } catch (...) {
    return "Unexpected";
  }
}

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (...) {
    return text_of_current_exception();
  }
}

const value& value_of(roving::detail::future_base& of) {
  if (!of.is_task()) return *static_cast<roving::detail::future_state<value>&>(of).value;
  auto& task = static_cast<roving::detail::task_base&>(of);
  return *static_cast<const value*>(task.body->value_address(task));
}

std::string text_of_outcome(roving::detail::future_base& of) {
  try {
    of.throw_failure();
    return text_of(value_of(of));
  } catch (...) {
    return text_of_current_exception();
  }
}

}  // namespace conformance
