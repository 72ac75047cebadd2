// Where a task may run, and what else is said of it when it is spawned.
#pragma once

#include <cstddef>
#include <string_view>

#pragma GCC visibility push(default)

namespace roving {

class callback_handle;

/// Where in the program a task was spawned or a callback posted. Made by default arguments; nobody writes one.
struct spawn_site {
  const char* file = "";
  unsigned line = 0;

  static constexpr spawn_site current(const char* file = __builtin_FILE(),
                                      unsigned line = static_cast<unsigned>(__builtin_LINE())) noexcept {
    return {file, line};
  }
};

/// Where a task may run: pinned to one shard, or roving.
class placement {
 public:
  enum class kind : unsigned char { inherited, here, anywhere, on_shard };

  constexpr placement() noexcept = default;  // as the parent; on no task: pinned to shard 0
  [[nodiscard]] constexpr kind how() const noexcept { return how_; }
  [[nodiscard]] constexpr unsigned shard() const noexcept { return shard_; }

  /// `on_shard(i).post(f)`: has the loop of that shard of the current runtime call `f`. See <roving/post.hpp>, which
  /// defines it.
  template <class Function>
  callback_handle post(Function&& f, spawn_site site = spawn_site::current()) const;

  static constexpr placement make(kind how, unsigned shard = 0) noexcept {
    placement made;
    made.how_ = how;
    made.shard_ = shard;
    return made;
  }

 private:
  kind how_ = kind::inherited;
  unsigned shard_ = 0;
};

/// Pinned to the shard on which it is spawned.
inline constexpr placement here = placement::make(placement::kind::here);

/// Roving: any shard may run it, and it may change shards whenever it suspends.
inline constexpr placement anywhere = placement::make(placement::kind::anywhere);

/// Pinned to the shard of that number, from 0. spawn() throws std::out_of_range when the runtime has no such shard.
[[nodiscard]] constexpr placement on_shard(unsigned shard) noexcept {
  return placement::make(placement::kind::on_shard, shard);
}

/// What can be said of a task when it is spawned: `spawn(attributes{.name = "reader"}, f)`.
struct attributes {
  roving::placement placement{};
  std::string_view name{};  // copied; "Task-N" when empty
  // 0: options.stack_size_bytes; rounded up to a size class. A task that is run by who waits for it, on that
  // one's stack, has half of it at least (roving) or three quarters (pinned).
  std::size_t stack_size_bytes = 0;
  bool eager = false;  // runs at once, here, up to its first suspension (a pinned task of this shard only)
};

}  // namespace roving

#pragma GCC visibility pop
