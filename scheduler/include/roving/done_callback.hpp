// What is called when a future or a task is done.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include <roving/detail/context_values.hpp>
#include <roving/detail/future_base.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/placement.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

/// The callable of a done_callback. Called any number of times.
class done_function : public counted {
 public:
  using call_function = void (*)(done_function&);
  done_function(destroy_function end, call_function how, spawn_site site) noexcept
      : counted{end}, call{how}, made_at{site} {}
  const call_function call;
  const spawn_site made_at;

 protected:
  ~done_function() = default;
};

template <class Callable>
class done_function_of final : public done_function {
 public:
  template <class Source>
  done_function_of(Source&& f, spawn_site site)
      : done_function{[](counted& self) noexcept { delete static_cast<done_function_of*>(&self); },
                      [](done_function& self) { static_cast<void>(static_cast<done_function_of&>(self).callable_()); },
                      site},
        callable_{std::forward<Source>(f)} {}

 private:
  Callable callable_;
};

/// One registration of one callable with one future. The future's list has a reference to it, then the queue.
class done_registration : public counted, public done_node, public posted_callback {
 public:
  done_registration(destroy_function end, ready_node::function deliver, counted_reference<done_function> what) noexcept;

  /// Calls the callable and reports what it throws. Where it may run.
  void call() noexcept;

 protected:
  friend std::size_t remove_registrations(future_base& of, const done_function& what) noexcept;
  ~done_registration() = default;

  counted_reference<done_function> function_;
  context_reference context_;
};

/// Has it told when `of` is done, at once if it is. Takes over the reference.
void add_registration(future_base& of, counted_reference<done_registration> made) noexcept;

/// A registration that has its callable posted to this shard. Throws no_shard{call}, runtime_closed{call}.
[[nodiscard]] counted_reference<done_registration> register_on_this_shard(counted_reference<done_function> what,
                                                                          const char* call);

/// An error that a callback threw, or an executor when it was given one.
void report_from_callback(const char* what, spawn_site where) noexcept;

/// One that has it posted to an executor: kept by reference from an lvalue, moved here from an rvalue.
template <class Executor>
class registration_with_executor final : public done_registration {
 public:
  registration_with_executor(counted_reference<done_function> what, Executor&& executor)
      : done_registration{[](counted& self) noexcept { delete static_cast<registration_with_executor*>(&self); },
                          &deliver, std::move(what)},
        executor_{std::forward<Executor>(executor)} {}

 private:
  static void deliver(ready_node& node) noexcept {
    auto& self = static_cast<registration_with_executor&>(static_cast<posted_callback&>(node));
    const counted_reference<done_registration> kept{&self};  // what it is given may outlive the executor's post()
    try {
      self.executor_.post([kept] { kept->call(); });
    } catch (...) {
      report_from_callback("exception from an executor that was to call a done-callback", self.function_->made_at);
    }
  }

  Executor executor_;
};

}  // namespace detail

/// A callable for on_done(). A copy is the same one, equal to it, and can be registered with any number of futures and
/// tasks, and several times with one: each registration calls it once.
///
/// Thread safety: as the callable; it runs where it was registered, which may be several shards.
class done_callback {
 public:
  done_callback() noexcept = default;

  /// Keeps `f`, which is called as `f()`.
  template <class Function>
  requires(!std::is_same_v<std::decay_t<Function>, done_callback>) explicit done_callback(
      Function&& f, spawn_site site = spawn_site::current())
      : function_{new detail::done_function_of<std::decay_t<Function>>{std::forward<Function>(f), site}} {}

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(function_); }
  friend bool operator==(const done_callback& a, const done_callback& b) noexcept {
    return a.function_.get() == b.function_.get();
  }

  /// For the library.
  [[nodiscard]] const detail::counted_reference<detail::done_function>& function(const char* call) const;

 private:
  detail::counted_reference<detail::done_function> function_;
};

namespace detail {

template <class Function>
[[nodiscard]] done_callback as_done_callback(Function&& f, spawn_site site) {
  if constexpr (std::is_same_v<std::decay_t<Function>, done_callback>)
    return std::forward<Function>(f);
  else
    return done_callback{std::forward<Function>(f), site};
}

template <class Function>
done_callback add_done_callback(future_base& of, Function&& f, spawn_site site, const char* call) {
  done_callback made = as_done_callback(std::forward<Function>(f), site);
  add_registration(of, register_on_this_shard(made.function(call), call));
  return made;
}

template <class Executor, class Function>
done_callback add_done_callback_with(future_base& of, Executor&& executor, Function&& f, spawn_site site,
                                     const char* call) {
  done_callback made = as_done_callback(std::forward<Function>(f), site);
  add_registration(of,
                   counted_reference<done_registration>{new registration_with_executor<Executor>{
                       made.function(call), std::forward<Executor>(executor)}});
  return made;
}

/// How many registrations of it went.
std::size_t remove_done_callback(future_base& of, const done_callback& what);

}  // namespace detail
}  // namespace roving

#pragma GCC visibility pop
