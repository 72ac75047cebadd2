// Waiting for descriptors that belong to others: a database client's socket, a device, a pipe of a library.
//
// For each wait the descriptor is watched once and level-triggered, and it is forgotten before the wait returns:
// libraries don't read until there is nothing, and close behind our back.
#pragma once

#include <exception>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include <roving/detail/io_direction.hpp>
#include <roving/detail/select_operation.hpp>

namespace roving {
namespace detail {

class descriptor_watch;

#pragma GCC visibility push(default)

class readiness_operation : public select_operation {
 public:
  readiness_operation(int fd, io_direction direction, const char* call) noexcept;
  ~readiness_operation() override;
  [[nodiscard]] bool try_now() final;
  [[nodiscard]] bool enlist(waiter& self) noexcept final;
  [[nodiscard]] bool delist(waiter& self, bool keep) noexcept final;
  [[nodiscard]] bool finish() final;

 private:
  const int fd_;
  const io_direction direction_;
  const char* const call_;
  std::unique_ptr<descriptor_watch> watch_;  // while it waits
  std::exception_ptr error_;                 // why it can't wait
};

}  // namespace detail

/// Waits until `fd` can be read, or its other end is closed. Whoever waits reads for himself; `fd` should not block.
///
/// Suspends: yes, unless it is a regular file, which is always ready. Needs a shard.
/// Errors: bad_file_descriptor, not_enough_memory; no_shard. Throws `cancelled` in both forms.
/// Thread safety: any number of tasks may wait for one descriptor.
/// Lifetime: `fd` must not be closed while somebody waits for it: that wait ends by a cancel or a timeout. Who has the
///   number next is not disturbed by it.
void wait_readable(int fd);
void wait_readable(int fd, std::error_code& error);

/// Waits until `fd` can be written, or its other end is closed. All else as above.
void wait_writable(int fd);
void wait_writable(int fd, std::error_code& error);

/// For select(): calls `f` when `fd` can be read (written), or its other end is closed.
///
/// Costs a poll(2) when it is tried, so that the order in which alternatives stand holds for it too; the rest as above,
/// the errors thrown by select().
template <class Function>
[[nodiscard]] auto on_readable(int fd, Function&& f) {
  return detail::select_case<detail::readiness_operation, std::decay_t<Function>>{
      std::forward<Function>(f), fd, detail::io_direction::read, "on_readable"};
}
template <class Function>
[[nodiscard]] auto on_writable(int fd, Function&& f) {
  return detail::select_case<detail::readiness_operation, std::decay_t<Function>>{
      std::forward<Function>(f), fd, detail::io_direction::write, "on_writable"};
}

}  // namespace roving

#pragma GCC visibility pop
