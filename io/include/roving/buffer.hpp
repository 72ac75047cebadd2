// Memory to read into and to write from: what every stream takes.
//
// One type for each instead of std::span<std::byte>, so that text, vectors, arrays and spans of any byte-like type
// can be given as they are, and one overload of each call is enough.
#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <utility>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

template <class Value, class... Types>
inline constexpr bool is_one_of = (std::is_same_v<std::remove_cv_t<Value>, Types> || ...);

template <class Value>
concept byte_like = is_one_of<Value, std::byte, char, unsigned char, signed char, char8_t>;

template <class Range>
concept byte_range = requires(Range&& range) {
  requires byte_like<std::remove_pointer_t<decltype(std::data(range))>>;
  std::size(range);
};

template <class Range>
inline constexpr bool is_char_array = false;
template <std::size_t Size>
inline constexpr bool is_char_array<char[Size]> = true;
template <std::size_t Size>
inline constexpr bool is_char_array<const char[Size]> = true;

template <class Range>
concept writable_byte_range =
    byte_range<Range> && !std::is_const_v<std::remove_pointer_t<decltype(std::data(std::declval<Range&>()))>>;

// Arrays of char are texts with a zero at the end, as they are for std::string_view.
template <class Range>
concept readable_byte_range = byte_range<Range> && !is_char_array<std::remove_reference_t<Range>>;

}  // namespace detail

/// Memory that may be written: a pointer and a size. Owns nothing.
class mutable_buffer {
 public:
  constexpr mutable_buffer() noexcept = default;
  constexpr mutable_buffer(void* data, std::size_t size_bytes) noexcept : data_{data}, size_{size_bytes} {}

  /// Of a span, vector, string or array of bytes or characters.
  template <class Range>
  requires detail::writable_byte_range<Range>
  constexpr mutable_buffer(Range&& range) noexcept : data_{std::data(range)}, size_{std::size(range)} {}

  [[nodiscard]] constexpr void* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }

  /// Without its first bytes, of which it must have as many.
  [[nodiscard]] mutable_buffer behind(std::size_t bytes) const noexcept {
    return {static_cast<std::byte*>(data_) + bytes, size_ - bytes};
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Memory that is only read: a pointer and a size. Owns nothing.
class const_buffer {
 public:
  constexpr const_buffer() noexcept = default;
  constexpr const_buffer(const void* data, std::size_t size_bytes) noexcept : data_{data}, size_{size_bytes} {}
  constexpr const_buffer(mutable_buffer from) noexcept : data_{from.data()}, size_{from.size()} {}

  /// Of a span, vector, string, view or array of bytes or characters.
  template <class Range>
  requires detail::readable_byte_range<Range>
  constexpr const_buffer(Range&& range) noexcept : data_{std::data(range)}, size_{std::size(range)} {}

  /// Of a text up to its zero, which does not belong to it: "GET".
  constexpr const_buffer(const char* text) noexcept : const_buffer{std::string_view{text}} {}

  [[nodiscard]] constexpr const void* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }

  /// Without its first bytes, of which it must have as many.
  [[nodiscard]] const_buffer behind(std::size_t bytes) const noexcept {
    return {static_cast<const std::byte*>(data_) + bytes, size_ - bytes};
  }

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace roving

#pragma GCC visibility pop
