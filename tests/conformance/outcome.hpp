// What tasks and futures of a trace program hold, and how outcomes look in a trace.
#pragma once

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include <roving/detail/future_base.hpp>

#include "tests/conformance/program.hpp"

namespace conformance {

/// The value of a task or a future: an integer, a text or null.
using value = scalar;

/// What `raise` and `fail` make.
class trace_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The same, thrown by a callback; knows which.
class callback_error : public trace_error {
 public:
  callback_error(std::string key, const std::string& text) : trace_error{text}, key_{std::move(key)} {}
  [[nodiscard]] const std::string& key() const noexcept { return key_; }

 private:
  std::string key_;
};

/// Errors that asyncio has and that roving says in another way: a false, for example.
enum class python_error { queue_full, queue_empty, value_error, runtime_error };

/// Leaves a body when the trace has ended. No handler of a program catches it.
struct trace_ended {};

/// Of the exception that is being handled.
[[nodiscard]] std::string text_of_current_exception();
[[nodiscard]] std::string text_of(const std::exception_ptr& error);

/// Of what a task or a future ended with; counts as having fetched it. It is done.
[[nodiscard]] std::string text_of_outcome(roving::detail::future_base& of);

/// The value with which a task or a future ended.
[[nodiscard]] const value& value_of(roving::detail::future_base& of);

}  // namespace conformance
