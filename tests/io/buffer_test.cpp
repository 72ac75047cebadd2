// Tested: what converts to a buffer, and how large it is then.

#include <roving/buffer.hpp>

#include <array>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/catch.hpp"

using roving::const_buffer;
using roving::mutable_buffer;

static_assert(std::is_convertible_v<std::span<std::byte>, mutable_buffer>);
static_assert(std::is_convertible_v<std::vector<char>&, mutable_buffer>);
static_assert(std::is_convertible_v<std::string&, mutable_buffer>);
static_assert(std::is_convertible_v<mutable_buffer, const_buffer>);
static_assert(std::is_convertible_v<std::span<const std::byte>, const_buffer>);
static_assert(std::is_convertible_v<std::string_view, const_buffer>);
static_assert(std::is_convertible_v<const char*, const_buffer>);
// What is only read can't be written, and what is no bytes is no buffer.
static_assert(!std::is_convertible_v<std::string_view, mutable_buffer>);
static_assert(!std::is_convertible_v<const std::string&, mutable_buffer>);
static_assert(!std::is_convertible_v<const char*, mutable_buffer>);
static_assert(!std::is_convertible_v<const_buffer, mutable_buffer>);
static_assert(!std::is_convertible_v<std::vector<int>&, mutable_buffer>);
static_assert(!std::is_convertible_v<std::span<const int>, const_buffer>);

TEST_CASE("buffer: a text ends before its zero, other memory where it ends", "[io][buffer]") {
  CHECK(const_buffer{"GET"}.size() == 3);
  CHECK(const_buffer{std::string_view{"a\0b", 3}}.size() == 3);
  CHECK(const_buffer{std::string{"abcd"}}.size() == 4);
  std::array<std::byte, 7> bytes;
  CHECK(mutable_buffer{bytes}.size() == 7);
  CHECK(mutable_buffer{bytes}.data() == bytes.data());
  char text[10] = "abc";
  CHECK(mutable_buffer{text}.size() == 10);
  CHECK(const_buffer{text}.size() == 3);
  const unsigned char raw[3] = {1, 2, 3};
  CHECK(const_buffer{raw}.size() == 3);
  CHECK(const_buffer{}.empty());
}

TEST_CASE("buffer: behind leaves out the first bytes", "[io][buffer]") {
  std::string text = "hello";
  CHECK(mutable_buffer{text}.behind(2).data() == &text[2]);
  CHECK(const_buffer{text}.behind(2).size() == 3);
  CHECK(const_buffer{text}.behind(5).empty());
}
