// The errors of I/O that errno has no number for.
//
// Errors of the world are std::system_error with errno codes, comparable with std::errc. What is missing there is the
// end of a stream where more was asked.
#pragma once

#include <cstddef>
#include <system_error>

#pragma GCC visibility push(default)

namespace roving {

enum class io_errc {
  end_of_stream = 1  // the peer has finished sending, and a fixed amount was asked
};

/// The category of io_errc, named "roving".
[[nodiscard]] const std::error_category& io_category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(io_errc error) noexcept {
  return {static_cast<int>(error), io_category()};
}

/// The peer has finished sending before all that was asked for came. code() is io_errc::end_of_stream.
class end_of_stream : public std::system_error {
 public:
  explicit end_of_stream(const char* call, std::size_t bytes_read = 0)
      : std::system_error{make_error_code(io_errc::end_of_stream), call}, bytes_read_{bytes_read} {}

  /// How many bytes came; they are at the front of the buffer.
  [[nodiscard]] std::size_t bytes_read() const noexcept { return bytes_read_; }

 private:
  std::size_t bytes_read_;
};

}  // namespace roving

template <>
struct std::is_error_code_enum<roving::io_errc> : std::true_type {};

#pragma GCC visibility pop
