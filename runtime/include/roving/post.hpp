// Callbacks: what a shard's loop calls between tasks. Most programs spawn tasks; a callback is smaller, and can't wait.
#pragma once

#include <optional>
#include <utility>

#include <roving/detail/callback.hpp>
#include <roving/placement.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// Stands for a posted callback. Copies stand for the same one. Destroying it does nothing.
///
/// Thread safety: any thread. Lifetime: may outlive the runtime.
class callback_handle {
 public:
  callback_handle() noexcept = default;

  /// Takes the callback back: it is not called any more, and its callable is destroyed at once. Too late it does
  /// nothing but be remembered.
  ///
  /// Suspends: no. Takes constant time, and leaves nothing behind where there is a timer.
  void cancel() noexcept {
    if (callback_) callback_->cancel();
  }

  /// Whether cancel() was called, in time or not.
  [[nodiscard]] bool cancelled() const noexcept { return callback_ && callback_->is_cancelled(); }

  /// When it is due; nothing unless it came from post_at() or post_after().
  [[nodiscard]] std::optional<time_point> when() const noexcept { return callback_ ? callback_->when() : std::nullopt; }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(callback_); }

  /// For the library.
  explicit callback_handle(detail::callback_reference to) noexcept : callback_{std::move(to)} {}

 private:
  detail::callback_reference callback_;
};

/// Has the loop of this shard call `f()`, in its next turn, behind what is ready now.
///
/// Callbacks run between tasks, on the shard where they were posted, in the order of posting. There is no current task
/// in them: what suspends throws not_in_task. They may spawn, post, set, release, notify, cancel. What `f` throws goes
/// to options.on_unhandled. It sees the context_vars as they are now. When the runtime closes first, `f` is destroyed
/// uncalled. Suspends: no. Errors: no_shard (on a plain thread: runtime::on_shard(i).post(f)), runtime_closed,
/// std::bad_alloc, what
///   moving `f` throws. Thread safety: on a shard.
template <class Function>
callback_handle post(Function&& f, spawn_site site = spawn_site::current()) {
  detail::callback_reference made = detail::make_callback(std::forward<Function>(f), false, site, {"post"});
  detail::post_callback_here(*made, "post");
  return callback_handle{std::move(made)};
}

/// The same, not before `deadline`. Equal deadlines are called in the order of posting; one that has passed, behind
/// what is ready now. The handle takes the timer back in constant time.
template <class Function>
callback_handle post_at(time_point deadline, Function&& f, spawn_site site = spawn_site::current()) {
  detail::callback_reference made = detail::make_callback(std::forward<Function>(f), true, site, {"post_at"});
  detail::post_callback_at(*made, deadline, "post_at");
  return callback_handle{std::move(made)};
}

/// The same for `span` from now on.
template <class Representation, class Period, class Function>
callback_handle post_after(std::chrono::duration<Representation, Period> span, Function&& f,
                           spawn_site site = spawn_site::current()) {
  detail::callback_reference made = detail::make_callback(std::forward<Function>(f), true, site, {"post_after"});
  detail::post_callback_at(*made, detail::time_after(now(), detail::to_duration(span)), "post_after");
  return callback_handle{std::move(made)};
}

/// `on_shard(i).post(f)`, `here.post(f)`: the same on any shard of the current runtime. What one producer posts to a
/// shard is called in the order of posting. Never called inside post(), also when it is for this shard.
///
/// Errors: no_shard, std::out_of_range (no such shard), std::invalid_argument (anywhere), and as post().
template <class Function>
callback_handle placement::post(Function&& f, spawn_site site) const {
  detail::counted& door = detail::door_to(*this, "placement::post");
  detail::callback_reference made = detail::make_callback(std::forward<Function>(f), false, site);
  detail::post_callback(*made, door, "placement::post");
  return callback_handle{std::move(made)};
}

/// A shard of a runtime as plain threads see it: runtime::on_shard(i). Also an executor.
///
/// Thread safety: any thread. Lifetime: may outlive the runtime.
class runtime_shard {
 public:
  /// As roving::post(), from any thread. A sleeping shard is woken, once for all that is posted while it sleeps.
  ///
  /// Errors: runtime_closed. What is posted to shard 0 waits while nobody is in run().
  template <class Function>
  callback_handle post(Function&& f, spawn_site site = spawn_site::current()) const {
    detail::callback_reference made = detail::make_callback(std::forward<Function>(f), false, site);
    detail::post_callback(*made, *door_, "runtime_shard::post");
    return callback_handle{std::move(made)};
  }

  /// For the library.
  explicit runtime_shard(detail::counted_reference<detail::counted> door) noexcept : door_{std::move(door)} {}

 private:
  detail::counted_reference<detail::counted> door_;
};

}  // namespace roving

#pragma GCC visibility pop
