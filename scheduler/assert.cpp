// The cold side of ROVING_ASSERT.
//
// Works on what is left of a small stack, whatever state the scheduler is in: no allocation, no formatting by
// printf (whose buffers alone can be larger than a fiber's rest), one write, so that lines of threads that fail
// together do not mix.

#include <roving/detail/assert.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "scheduler/simulator.hpp"

namespace roving::detail {
namespace {

// A line of bounded length; what does not fit is cut off, but for the newline.
class short_line {
 public:
  void append(const char* text) noexcept {
    for (; *text != '\0' && length_ + 1 < text_.size(); ++text) text_[length_++] = *text;
  }

  void append(int number) noexcept {
    std::array<char, 12> digits{};
    std::size_t first = digits.size() - 1;
    for (; number > 0; number /= 10) digits[--first] = static_cast<char>('0' + number % 10);
    append(&digits[first]);
  }

  void print() noexcept {
    text_[length_++] = '\n';
    std::fwrite(text_.data(), 1, length_, stderr);
  }

 private:
  std::array<char, 512> text_{};
  std::size_t length_ = 0;
};

}  // namespace

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  short_line message;
  message.append(file);
  message.append(":");
  message.append(line);
  message.append(": roving: assertion failed, a fault in the library: ");
  message.append(expression);
  message.print();
  if (simulator* const simulated = current_simulator()) simulated->say_how_to_replay();
  std::abort();
}

}  // namespace roving::detail
