// The category of io_errc.
#include <roving/io_error.hpp>

#include <string>

namespace roving {
namespace {

class category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "roving"; }

  [[nodiscard]] std::string message(int condition) const override {
    switch (static_cast<io_errc>(condition)) {
      case io_errc::end_of_stream:
        return "end of stream";
    }
    return "unknown error";
  }
};

}  // namespace

const std::error_category& io_category() noexcept {
  static const category only;  // has no state
  return only;
}

}  // namespace roving
