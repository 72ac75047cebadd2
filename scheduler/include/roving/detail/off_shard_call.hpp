// A callable that runs on another thread while its caller waits: what the compiler knows of it, and the place for what
// it returns.
#pragma once

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#pragma GCC visibility push(default)

namespace roving::detail {

/// Lies on the caller's stack. The callable stays where it is: the caller's.
template <class Function>
class off_shard_call {
 public:
  using value = std::invoke_result_t<Function>;
  static_assert(std::is_void_v<value> || std::is_reference_v<value> || std::is_move_constructible_v<value>,
                "what the callable returns is moved to its caller");

  explicit off_shard_call(Function&& f) noexcept : function_{std::forward<Function>(f)} {}
  off_shard_call(const off_shard_call&) = delete;
  off_shard_call& operator=(const off_shard_call&) = delete;

  /// Calls it. `call` is an off_shard_call.
  static void invoke(void* call) {
    auto& self = *static_cast<off_shard_call*>(call);
    if constexpr (std::is_void_v<value>) {
      std::forward<Function>(self.function_)();
    } else if constexpr (std::is_reference_v<value>) {
      auto&& result = std::forward<Function>(self.function_)();
      self.result_ = std::addressof(result);
    } else {
      self.result_.emplace(std::forward<Function>(self.function_)());
    }
  }

  /// What it returned; once, after invoke().
  value take() {
    if constexpr (std::is_reference_v<value>)
      return static_cast<value>(*result_);
    else if constexpr (!std::is_void_v<value>)
      return std::move(*result_);
  }

 private:
  using held = std::conditional_t<
      std::is_void_v<value>, char,
      std::conditional_t<std::is_reference_v<value>, std::remove_reference_t<value>*, std::optional<value>>>;

  Function&& function_;
  held result_{};
};

}  // namespace roving::detail

#pragma GCC visibility pop
