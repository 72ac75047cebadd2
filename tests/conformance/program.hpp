// A trace program as oracle/LANGUAGE.md defines it, read from JSON and ready to be interpreted: every operation knows
// what runs it and how it looks in a trace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace conformance {

struct json;
struct operation_entry;
struct operation;
using operations = std::vector<operation>;

/// What an operation can be given besides operations: null, a flag, an integer, or a text (also a name).
using scalar = std::variant<std::monostate, bool, std::int64_t, std::string>;

/// As it stands in a trace.
[[nodiscard]] std::string text_of(const scalar& of);

/// One text of several.
[[nodiscard]] std::string join(std::initializer_list<std::string_view> parts);

struct operation {
  const operation_entry* entry = nullptr;
  std::string text;           // the OP field of its lines
  std::vector<scalar> plain;  // its arguments, but for the list and the operations
  std::vector<scalar> list;
  operations inner;
  std::optional<operations> on_cancelled;
  std::optional<operations> on_error;
  std::optional<operations> finally;

  [[nodiscard]] const std::string& name(std::size_t at = 0) const { return std::get<std::string>(plain.at(at)); }
  [[nodiscard]] std::int64_t number(std::size_t at) const { return std::get<std::int64_t>(plain.at(at)); }
  [[nodiscard]] bool flag(std::size_t at) const { return std::get<bool>(plain.at(at)); }
  [[nodiscard]] std::optional<std::int64_t> number_or_null(std::size_t at) const;
  [[nodiscard]] std::optional<std::string> text_or_none(std::size_t at) const;  // none: it was left out
};

struct object_declaration {
  std::string name;
  std::string kind;
  std::vector<scalar> arguments;
};

struct program {
  std::int64_t limit = 5000;
  std::vector<object_declaration> objects;
  std::vector<std::pair<std::string, operations>> callbacks;
  std::vector<operations> bodies;
};

/// The program uses an operation that this interpreter does not have.
class unknown_operation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Errors: json_error (the text is no program), unknown_operation.
[[nodiscard]] program read_program(std::string_view text);

}  // namespace conformance
