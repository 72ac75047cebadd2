// A reader of JSON (RFC 8259), as much of it as trace programs need: a value tree, members in the order of the text.
//
// Our own, since the library needs no JSON and a dependency of the tests alone would have to be installed by everyone.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace conformance {

/// A text is not JSON, or not what was asked of it.
class json_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct json;
using json_list = std::vector<json>;
using json_members = std::vector<std::pair<std::string, json>>;

/// The as_... members throw json_error where the value is something else.
struct json {
  using any_value = std::variant<std::monostate, bool, std::int64_t, double, std::string, json_list, json_members>;

  // Not in the class: where json is not complete yet, clang can't take the lists apart.
  json() noexcept;
  json(any_value of) noexcept;  // NOLINT: whatever can be a value
  json(const json&);
  json(json&&) noexcept;
  json& operator=(const json&);
  json& operator=(json&&) noexcept;
  ~json();

  any_value value;

  [[nodiscard]] bool is_null() const noexcept { return std::holds_alternative<std::monostate>(value); }
  [[nodiscard]] std::int64_t as_number() const;
  [[nodiscard]] const std::string& as_text() const;
  [[nodiscard]] const json_list& as_list() const;
  [[nodiscard]] const json_members& as_members() const;

  /// The member of that name; null when there is none.
  [[nodiscard]] const json* find(std::string_view name) const;
};

/// Errors: json_error, with the place in the text.
[[nodiscard]] json parse_json(std::string_view text);

}  // namespace conformance
