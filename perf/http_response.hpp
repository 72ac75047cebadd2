// The head of an HTTP/1.x response, as far as a client needs it that only counts: where it ends, how long the body is.
//
// Bodies are known by their Content-Length. Chunked ones are refused: the servers that are measured here send none.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace roving_perf {

struct http_response_head {
  enum class state : std::uint8_t { incomplete, invalid, complete };

  state is = state::incomplete;
  int status = 0;
  std::size_t head_bytes = 0;
  std::uint64_t body_bytes = 0;
  bool keeps_alive = false;  // the connection may be used again

  /// Of the bytes that came so far, which begin with it.
  [[nodiscard]] static http_response_head of(std::string_view bytes) noexcept;
};

namespace detail {

// ASCII only; `lower` is in lower case.
inline bool equals_ignoring_case(std::string_view text, std::string_view lower) noexcept {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b; });
}

inline std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view blanks = " \t";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) + 1 - first);
}

template <class Number>
bool read_number(std::string_view text, Number& into) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace detail

inline http_response_head http_response_head::of(std::string_view bytes) noexcept {
  http_response_head head;
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return head;
  head.head_bytes = end + 4;
  head.is = state::invalid;

  // "HTTP/1.1 200 OK"
  std::string_view rest = bytes.substr(0, end + 2);
  const std::string_view first = rest.substr(0, rest.find("\r\n"));
  rest.remove_prefix(first.size() + 2);
  if (first.size() < 12 || !first.starts_with("HTTP/1.") || first[8] != ' ' ||
      (first.size() > 12 && first[12] != ' ') || !detail::read_number(first.substr(9, 3), head.status) ||
      head.status < 100)
    return head;
  head.keeps_alive = first[7] != '0';

  bool has_length = false;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find("\r\n"));
    rest.remove_prefix(line.size() + 2);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return head;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = detail::trimmed(line.substr(colon + 1));
    if (detail::equals_ignoring_case(name, "content-length")) {
      if (!detail::read_number(value, head.body_bytes)) return head;
      has_length = true;
    } else if (detail::equals_ignoring_case(name, "connection")) {
      if (detail::equals_ignoring_case(value, "close")) head.keeps_alive = false;
      if (detail::equals_ignoring_case(value, "keep-alive")) head.keeps_alive = true;
    } else if (detail::equals_ignoring_case(name, "transfer-encoding")) {
      return head;
    }
  }
  const bool has_no_body = head.status < 200 || head.status == 204 || head.status == 304;
  if (has_no_body) head.body_bytes = 0;
  if (!has_no_body && !has_length) return head;
  head.is = state::complete;
  return head;
}

}  // namespace roving_perf
