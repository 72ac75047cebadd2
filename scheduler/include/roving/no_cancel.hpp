// A scope in which the task is not cancelled.
#pragma once

#pragma GCC visibility push(default)

namespace roving {

/// While one lives, a cancel of the current task stays pending: no suspension in the scope throws `cancelled`. The
/// first one after it does. Needed around a suspension in a destructor or in a noexcept function; scopes nest.
///
/// Suspends: no. On no task it does nothing. Thread safety: belongs to the task that made it; end it there.
class no_cancel {
 public:
  no_cancel() noexcept;
  no_cancel(const no_cancel&) = delete;
  no_cancel& operator=(const no_cancel&) = delete;
  ~no_cancel();

 private:
  bool holds_;
};

}  // namespace roving

#pragma GCC visibility pop
