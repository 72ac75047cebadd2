// Variables that follow the work and not the thread: a request's number, a user, a trace.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <roving/detail/context_values.hpp>
#include <roving/error.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A variable of which every task has its own value: a task starts with those of its spawner, a callback (post,
/// on_done) and a call on another thread (blocking, compute) with those of whoever made it. What is set there is seen
/// there, by what is called, and by what is spawned there later; never by the spawner.
///
/// Copying is free: a spawn counts one reference, and nothing when no variable was ever set.
/// Suspends: never. Thread safety: any thread, at once; a plain thread has values of its own. Lifetime: its tokens and
/// the values that contexts hold may outlive it.
template <class Value>
class context_var {
 public:
  using value_type = Value;
  class token;

  /// Without a value until it is set.
  context_var() : key_{new detail::context_key} {}

  /// Has `otherwise` where it was not set.
  explicit context_var(Value otherwise) : key_{new detail::context_key}, otherwise_{std::move(otherwise)} {}
  context_var(const context_var&) = delete;
  context_var& operator=(const context_var&) = delete;
  ~context_var() = default;

  /// The value here, which stays valid until this task (callback, thread) sets the variable again, or ends.
  ///
  /// Errors: invalid_state when it was not set and has no default.
  [[nodiscard]] const Value& get() const {
    if (const auto* const set = find()) return *set;
    if (!otherwise_) throw invalid_state{"context_var::get: it was not set here, and has no default"};
    return *otherwise_;
  }

  /// The value here, or null when it was not set and has no default. Valid as get()'s.
  [[nodiscard]] const Value* try_get() const noexcept {
    if (const auto* const set = find()) return set;
    return otherwise_ ? std::addressof(*otherwise_) : nullptr;
  }

  /// Sets it here. The token takes it back to what it was. Errors: std::bad_alloc, what moving a Value throws.
  token set(Value value) {
    detail::counted_reference<detail::context_value> made{new held{std::move(value)}};
    return token{detail::set_in_context(key_, std::move(made)), key_, detail::current_context_place()};
  }

  /// Takes it back to what it was before the set() that gave `before`.
  ///
  /// Errors: broken_contract when the token was used before, comes from another variable or from another task
  /// (callback, thread); std::bad_alloc.
  void reset(token& before);

 private:
  struct held final : detail::context_value {
    explicit held(Value&& of)
        : context_value{[](detail::counted& self) noexcept { delete static_cast<held*>(&self); }},
          value{std::move(of)} {}
    Value value;
  };

  [[nodiscard]] const Value* find() const noexcept {
    const auto* const found = static_cast<const held*>(detail::find_in_context(*key_));
    return found != nullptr ? std::addressof(found->value) : nullptr;
  }

  const detail::counted_reference<detail::context_key> key_;
  const std::optional<Value> otherwise_;
};

/// What a variable was before a set(). Used once, or dropped.
template <class Value>
class context_var<Value>::token {
 public:
  token(token&&) noexcept = default;
  token& operator=(token&&) noexcept = default;

 private:
  friend class context_var;
  token(detail::counted_reference<detail::context_value> before, detail::counted_reference<detail::context_key> of,
        detail::context_place where) noexcept
      : before_{std::move(before)}, key_{std::move(of)}, where_{where} {}

  detail::counted_reference<detail::context_value> before_;
  detail::counted_reference<detail::context_key> key_;  // none when it was used
  detail::context_place where_;
};

template <class Value>
void context_var<Value>::reset(token& before) {
  if (!before.key_) throw broken_contract{"context_var::reset: the token was used before"};
  if (before.key_.get() != key_.get()) throw broken_contract{"context_var::reset: the token is another variable's"};
  if (!(before.where_ == detail::current_context_place()))
    throw broken_contract{"context_var::reset: the token comes from another task, callback or thread"};
  detail::set_in_context(key_, before.before_);
  before.before_ = {};
  before.key_ = {};
}

}  // namespace roving

#pragma GCC visibility pop
