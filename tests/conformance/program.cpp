// See program.hpp.
#include "tests/conformance/program.hpp"

#include "tests/conformance/json.hpp"
#include "tests/conformance/operations.hpp"

namespace conformance {
namespace {

scalar scalar_of(const json& from) {
  if (from.is_null()) return {};
  if (const auto* flag = std::get_if<bool>(&from.value)) return *flag;
  if (const auto* number = std::get_if<std::int64_t>(&from.value)) return *number;
  return from.as_text();
}

operations operations_of(const json& from);

operation operation_of(const json& from) {
  const json_list& parts = from.as_list();
  if (parts.empty()) throw json_error{"an operation without a name"};
  const std::string& name = parts.front().as_text();
  operation made;
  made.entry = find_operation(name);
  if (made.entry == nullptr) throw unknown_operation{name};

  std::string shown;
  const auto show = [&shown](const std::string& text) { (shown += shown.empty() ? "(" : ",") += text; };
  std::size_t at = 1;
  for (const char kind : made.entry->arguments) {
    if (at == parts.size()) break;  // the last may be left out
    const json& part = parts[at++];
    if (kind == 'o') {
      made.inner = operations_of(part);
    } else if (kind == 'h') {
      if (const json* const handler = part.find("cancelled")) made.on_cancelled = operations_of(*handler);
      if (const json* const handler = part.find("error")) made.on_error = operations_of(*handler);
      if (const json* const handler = part.find("finally")) made.finally = operations_of(*handler);
    } else if (kind == 'l') {
      std::string items;
      for (const json& item : part.as_list()) {
        made.list.push_back(scalar_of(item));
        (items += made.list.size() == 1 ? "" : "+") += text_of(made.list.back());
      }
      show(items);
    } else {
      made.plain.push_back(scalar_of(part));
      show(text_of(made.plain.back()));
    }
  }
  if (at != parts.size()) throw json_error{name + " takes fewer arguments"};
  made.text = shown.empty() ? name : join({name, shown, ")"});
  return made;
}

operations operations_of(const json& from) {
  operations made;
  for (const json& each : from.as_list()) made.push_back(operation_of(each));
  return made;
}

}  // namespace

std::string text_of(const scalar& of) {
  if (const auto* const flag = std::get_if<bool>(&of)) return *flag ? "true" : "false";
  if (const auto* const number = std::get_if<std::int64_t>(&of)) return std::to_string(*number);
  if (const auto* const text = std::get_if<std::string>(&of)) return *text;
  return "null";
}

std::string join(std::initializer_list<std::string_view> parts) {
  std::string whole;
  for (const std::string_view part : parts) whole += part;
  return whole;
}

std::optional<std::int64_t> operation::number_or_null(std::size_t at) const {
  if (std::holds_alternative<std::monostate>(plain.at(at))) return std::nullopt;
  return number(at);
}

std::optional<std::string> operation::text_or_none(std::size_t at) const {
  if (at >= plain.size()) return std::nullopt;
  return name(at);
}

program read_program(std::string_view text) {
  const json whole = parse_json(text);
  program made;
  if (const json* const limit = whole.find("limit")) made.limit = limit->as_number();
  if (const json* const objects = whole.find("objects")) {
    for (const auto& [name, parts] : objects->as_members()) {
      object_declaration& object = made.objects.emplace_back();
      object.name = name;
      object.kind = parts.as_list().at(0).as_text();
      for (std::size_t at = 1; at < parts.as_list().size(); ++at)
        object.arguments.push_back(scalar_of(parts.as_list()[at]));
    }
  }
  if (const json* const callbacks = whole.find("callbacks"))
    for (const auto& [key, ops] : callbacks->as_members()) made.callbacks.emplace_back(key, operations_of(ops));
  const json* const bodies = whole.find("bodies");
  if (bodies == nullptr || bodies->as_list().empty()) throw json_error{"a program without bodies"};
  for (const json& ops : bodies->as_list()) made.bodies.push_back(operations_of(ops));
  return made;
}

}  // namespace conformance
