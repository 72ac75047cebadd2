// What roving throws. Errors of the world are std::system_error; what stands here is cancellation, timeouts and broken
// contracts.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {
class generator_core;
}

/// Thrown into a task at its current or next suspension point after it was cancelled.
///
/// Not derived from std::exception, so that `catch (const std::exception&)` does not swallow it. Let it pass, or catch
/// it, clean up and rethrow. A task that it leaves counts as cancelled.
class cancelled {
 public:
  cancelled() noexcept = default;
  explicit cancelled(std::string_view message) : message_{std::make_shared<const std::string>(message)} {}
  explicit cancelled(std::shared_ptr<const std::string> message) noexcept : message_{std::move(message)} {}

  /// What was passed to cancel(); empty when nothing was.
  [[nodiscard]] std::string_view message() const noexcept {
    return message_ ? std::string_view{*message_} : std::string_view{};
  }

  /// Whether a message was passed to cancel(), be it empty.
  [[nodiscard]] bool has_message() const noexcept { return message_ != nullptr; }

  [[nodiscard]] const std::shared_ptr<const std::string>& shared_message() const noexcept { return message_; }

 private:
  std::shared_ptr<const std::string> message_;
};

/// Thrown out of the yield of a generator's body when the generator is closed or destroyed before the body has ended.
///
/// Not derived from std::exception. Let it pass, or catch it, clean up and rethrow (or return). A body that yields
/// again instead breaks its contract: see generator::close().
class generator_exit {
 public:
  generator_exit(const generator_exit&) noexcept = default;

 private:
  friend class detail::generator_core;
  generator_exit() noexcept = default;
};

/// A deadline passed before the work under it ended.
class timeout_error : public std::runtime_error {
 public:
  timeout_error() : std::runtime_error{"the deadline passed before the operation ended"} {}
  using std::runtime_error::runtime_error;
};

/// A contract of the library was broken by its caller. The text says which call, and what to do.
class broken_contract : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// A call that suspends was made where nothing can be suspended: on a plain thread, or in a posted callback.
class not_in_task : public broken_contract {
 public:
  explicit not_in_task(std::string_view call);
};

/// A call that needs a shard was made on a thread that is none.
class no_shard : public broken_contract {
 public:
  explicit no_shard(std::string_view call);
};

/// A value was asked of what is not done, or was set twice.
class invalid_state : public broken_contract {
 public:
  using broken_contract::broken_contract;
};

/// Two tasks did at once what only one may do at a time.
class concurrent_use : public broken_contract {
 public:
  using broken_contract::broken_contract;
};

/// A promise was destroyed before it was kept.
class broken_promise : public std::runtime_error {
 public:
  broken_promise() : std::runtime_error{"the promise was destroyed before a value or an exception was set"} {}
};

/// Thrown by run() when its main task was cancelled by SIGINT and ended by that. Everything was shut down in order.
class interrupted : public std::runtime_error {
 public:
  interrupted() : std::runtime_error{"run: interrupted by SIGINT"} {}
};

/// The runtime is closed, or closing, and takes no more work.
class runtime_closed : public std::runtime_error {
 public:
  explicit runtime_closed(std::string_view call);
};

}  // namespace roving

#pragma GCC visibility pop
