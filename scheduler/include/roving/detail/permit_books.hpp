// The books of a semaphore, in builds for simulation: what was there at first and was given back is there, is on its
// way to who was woken, or was taken. Checked after each change.
#pragma once

#include <cstddef>

#pragma GCC visibility push(default)

namespace roving::detail {

class permit_books {
 public:
#if defined(ROVING_SIMULATION)
  explicit permit_books(std::ptrdiff_t at_first) noexcept : given_{at_first} {}
  void gave(std::ptrdiff_t permits) noexcept { given_ += permits; }
  void took() noexcept { ++taken_; }
  /// A run fails where they are wrong.
  void check(std::ptrdiff_t there, std::size_t on_their_way) const noexcept;

 private:
  std::ptrdiff_t given_;
  std::ptrdiff_t taken_ = 0;
#else
  explicit permit_books(std::ptrdiff_t) noexcept {}
  void gave(std::ptrdiff_t) noexcept {}
  void took() noexcept {}
  void check(std::ptrdiff_t, std::size_t) const noexcept {}
#endif
};

}  // namespace roving::detail

#pragma GCC visibility pop
