// Several errors thrown as one.
#pragma once

#include <exception>
#include <memory>
#include <string_view>
#include <vector>

#pragma GCC visibility push(default)

namespace roving {

/// The errors of several tasks, in the order in which the tasks ended. An error that is itself an exception_group stays
/// one: nothing is flattened.
///
/// what() says how many there are and the texts of the first ones.
/// Thread safety: as any exception's: it does not change; copies share what they hold.
class exception_group : public std::exception {
 public:
  /// `where` comes first in what(). Errors: std::bad_alloc; std::invalid_argument for no exceptions, or a null one.
  exception_group(std::string_view where, std::vector<std::exception_ptr> exceptions);

  [[nodiscard]] const std::vector<std::exception_ptr>& exceptions() const noexcept;
  [[nodiscard]] const char* what() const noexcept override;

 private:
  struct contents;
  std::shared_ptr<const contents> contents_;
};

}  // namespace roving

#pragma GCC visibility pop
