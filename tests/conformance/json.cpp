// See json.hpp: recursive descent, one function for each kind of value.
#include "tests/conformance/json.hpp"

#include <charconv>

namespace conformance {
namespace {

constexpr unsigned deepest = 200;

class reader {
 public:
  explicit reader(std::string_view text) : text_{text} {}

  json whole() {
    json made = any(0);
    skip_blanks();
    if (at_ != text_.size()) fail("something follows the value");
    return made;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw json_error{"not JSON: " + why + ", at character " + std::to_string(at_)};
  }

  [[nodiscard]] char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_blanks() {
    while (at_ < text_.size() && std::string_view{" \t\r\n"}.find(text_[at_]) != std::string_view::npos) ++at_;
  }

  bool take(char wanted) {
    skip_blanks();
    if (next() != wanted) return false;
    ++at_;
    return true;
  }

  void expect(char wanted) {
    if (!take(wanted)) fail(std::string{"no "} + wanted);
  }

  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  json any(unsigned depth) {
    if (depth > deepest) fail("nested too deeply");
    skip_blanks();
    switch (next()) {
      case '{':
        return {members(depth)};
      case '[':
        return {list(depth)};
      case '"':
        return {text()};
      default:
        break;
    }
    if (take_word("null")) return {};
    if (take_word("true")) return {true};
    if (take_word("false")) return {false};
    return number();
  }

  json_members members(unsigned depth) {
    json_members made;
    expect('{');
    if (take('}')) return made;
    do {
      skip_blanks();
      std::string name = text();
      expect(':');
      made.emplace_back(std::move(name), any(depth + 1));
    } while (take(','));
    expect('}');
    return made;
  }

  json_list list(unsigned depth) {
    json_list made;
    expect('[');
    if (take(']')) return made;
    do {
      made.push_back(any(depth + 1));
    } while (take(','));
    expect(']');
    return made;
  }

  json number() {
    std::size_t end = at_;
    while (end < text_.size() && std::string_view{"+-.0123456789eE"}.find(text_[end]) != std::string_view::npos) ++end;
    const char* const first = text_.data() + at_;
    const char* const last = text_.data() + end;
    json made;
    const bool is_integer = text_.substr(at_, end - at_).find_first_of(".eE") == std::string_view::npos;
    std::from_chars_result read{};
    if (is_integer) {
      std::int64_t integer = 0;
      read = std::from_chars(first, last, integer);
      made.value = integer;
    } else {
      double real = 0;
      read = std::from_chars(first, last, real);
      made.value = real;
    }
    if (read.ec != std::errc{} || read.ptr != last) fail("no value");
    at_ = end;
    return made;
  }

  std::string text() {
    expect('"');
    std::string made;
    for (;;) {
      if (at_ == text_.size()) fail("a text without an end");
      const char letter = text_[at_++];
      if (letter == '"') return made;
      if (letter != '\\') {
        made += letter;
        continue;
      }
      const char escaped = next();
      ++at_;
      switch (escaped) {
        case '"':
        case '\\':
        case '/':
          made += escaped;
          break;
        case 'b':
          made += '\b';
          break;
        case 'f':
          made += '\f';
          break;
        case 'n':
          made += '\n';
          break;
        case 'r':
          made += '\r';
          break;
        case 't':
          made += '\t';
          break;
        case 'u':
          append_utf8(made, code_point());
          break;
        default:
          fail("an unknown escape");
      }
    }
  }

  std::uint32_t four_digits() {
    std::uint32_t made = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), made, 16);
    if (digits.size() != 4 || read.ec != std::errc{} || read.ptr != digits.data() + 4) fail("no four hex digits");
    at_ += 4;
    return made;
  }

  std::uint32_t code_point() {
    const std::uint32_t high = four_digits();
    if (high < 0xd800 || high > 0xdbff) return high;
    if (!take_word("\\u")) fail("half a surrogate pair");
    const std::uint32_t low = four_digits();
    if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair");
    return 0x10000U + ((high - 0xd800U) << 10U) + (low - 0xdc00U);
  }

  static void append_utf8(std::string& to, std::uint32_t point) {
    const auto add = [&to](std::uint32_t byte) { to += static_cast<char>(byte); };
    if (point < 0x80) return add(point);
    if (point < 0x800) {
      add(0xc0U | (point >> 6U));
    } else if (point < 0x10000) {
      add(0xe0U | (point >> 12U));
      add(0x80U | ((point >> 6U) & 0x3fU));
    } else {
      add(0xf0U | (point >> 18U));
      add(0x80U | ((point >> 12U) & 0x3fU));
      add(0x80U | ((point >> 6U) & 0x3fU));
    }
    add(0x80U | (point & 0x3fU));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

template <class Kind>
const Kind& as(const json& from, const char* what) {
  if (const Kind* const held = std::get_if<Kind>(&from.value)) return *held;
  throw json_error{std::string{"a JSON value is not "} + what};
}

}  // namespace

json::json() noexcept = default;
json::json(any_value of) noexcept : value{std::move(of)} {}
json::json(const json&) = default;
json::json(json&&) noexcept = default;
json& json::operator=(const json&) = default;
json& json::operator=(json&&) noexcept = default;
json::~json() = default;

std::int64_t json::as_number() const { return as<std::int64_t>(*this, "an integer"); }
const std::string& json::as_text() const { return as<std::string>(*this, "a text"); }
const json_list& json::as_list() const { return as<json_list>(*this, "a list"); }
const json_members& json::as_members() const { return as<json_members>(*this, "an object"); }

const json* json::find(std::string_view name) const {
  for (const auto& [key, held] : as_members())
    if (key == name) return &held;
  return nullptr;
}

json parse_json(std::string_view text) { return reader{text}.whole(); }

}  // namespace conformance
