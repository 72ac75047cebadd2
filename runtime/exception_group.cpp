// See exception_group.hpp.
#include <roving/exception_group.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include <roving/error.hpp>

#include "runtime/error_text.hpp"

namespace roving {

std::string detail::text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    return known.what();
  } catch (const cancelled&) {
    return "cancelled";
  } catch (...) {
    return "an exception that is not a std::exception";
  }
}

namespace {

constexpr std::size_t texts_at_most = 3;

}  // namespace

struct exception_group::contents {
  std::string text;
  std::vector<std::exception_ptr> exceptions;
};

exception_group::exception_group(std::string_view where, std::vector<std::exception_ptr> exceptions) {
  if (exceptions.empty()) throw std::invalid_argument{"exception_group: no exceptions"};
  if (std::find(exceptions.begin(), exceptions.end(), nullptr) != exceptions.end())
    throw std::invalid_argument{"exception_group: a null exception"};
  std::string text{where};
  text += ": " + std::to_string(exceptions.size()) + (exceptions.size() == 1 ? " error: " : " errors: ");
  for (std::size_t i = 0; i < std::min(exceptions.size(), texts_at_most); ++i)
    text += (i == 0 ? "" : "; ") + detail::text_of(exceptions[i]);
  if (exceptions.size() > texts_at_most) text += "; ...";
  contents_ = std::make_shared<const contents>(contents{std::move(text), std::move(exceptions)});
}

const std::vector<std::exception_ptr>& exception_group::exceptions() const noexcept { return contents_->exceptions; }

const char* exception_group::what() const noexcept { return contents_->text.c_str(); }

}  // namespace roving
