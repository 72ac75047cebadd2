// A reference to a callable of any type, for code that is compiled once. Like a pointer it owns nothing.
#pragma once

#include <memory>
#include <utility>

#pragma GCC visibility push(default)

namespace roving::detail {

template <class Signature>
class call_reference;

/// Lifetime: the callable must outlive it.
template <class... Arguments>
class call_reference<void(Arguments...)> {
 public:
  template <class Function>
  explicit call_reference(Function& f) noexcept
      : callable_{std::addressof(f)}, call_{[](void* callable, Arguments... arguments) {
          (*static_cast<Function*>(callable))(std::forward<Arguments>(arguments)...);
        }} {}

  void operator()(Arguments... arguments) const { call_(callable_, std::forward<Arguments>(arguments)...); }

 private:
  void* callable_;
  void (*call_)(void*, Arguments...);
};

}  // namespace roving::detail

#pragma GCC visibility pop
