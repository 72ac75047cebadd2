// What happens to an error that nobody is left to catch.
#pragma once

#include <exception>
#include <functional>
#include <string>

#pragma GCC visibility push(default)

namespace roving {

/// An error that no code caught or fetched.
struct unhandled {
  std::string message;       // what happened, for example "task exception was never retrieved"
  std::exception_ptr error;  // never null
  std::string task;          // the name of the task; empty when it was a callback or a promise
};

/// Called with each, on the thread on which it was found. Must not suspend. What it throws is reported on stderr.
using unhandled_handler = std::function<void(const unhandled&)>;

namespace detail {
/// What is done without a handler: one line.
void report_on_stderr(const unhandled& what) noexcept;
}  // namespace detail

}  // namespace roving

#pragma GCC visibility pop
