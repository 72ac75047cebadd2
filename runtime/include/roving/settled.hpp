// How a task ended, as a value.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <roving/detail/task_base.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A value or the exception that came in its place; `cancelled` is one of them. Value may be void or a reference.
///
/// Thread safety: as a std::optional's.
template <class Value>
class settled {
 public:
  using value_type = Value;

  explicit settled(std::exception_ptr error) noexcept : error_{std::move(error)} {}
  template <class... Arguments>
  explicit settled(std::in_place_t, Arguments&&... arguments) {
    if constexpr (std::is_reference_v<Value>)
      value_.emplace(std::addressof(arguments)...);
    else
      value_.emplace(std::forward<Arguments>(arguments)...);
  }

  [[nodiscard]] bool has_value() const noexcept { return error_ == nullptr; }
  explicit operator bool() const noexcept { return has_value(); }

  /// The value. Errors: the exception, thrown, if there is none.
  decltype(auto) value() const& {
    check();
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(**value_);
    else if constexpr (!std::is_void_v<Value>)
      return static_cast<const Value&>(*value_);
  }
  Value value() && {
    check();
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(**value_);
    else if constexpr (!std::is_void_v<Value>)
      return std::move(*value_);
  }

  /// Null for a value.
  [[nodiscard]] const std::exception_ptr& exception() const noexcept { return error_; }

 private:
  void check() const {
    if (error_) std::rethrow_exception(error_);
  }

  std::optional<detail::stored<Value>> value_;
  std::exception_ptr error_;
};

}  // namespace roving

#pragma GCC visibility pop
