// The limit of everything that switches: jump_fcontext between two stacks, and nothing else.
#pragma once

#include <cstddef>
#include <memory>

#include <boost/context/detail/fcontext.hpp>

#include "scheduler/context.hpp"

namespace roving_perf {

/// Memory for a fiber that has no guard and calls nothing deep.
class bare_stack {
 public:
  [[nodiscard]] void* top() const noexcept { return memory_.get() + size_bytes; }

  static constexpr std::size_t size_bytes = 16 * 1024;

 private:
  std::unique_ptr<std::byte[]> memory_{new std::byte[size_bytes]};
};

/// A fiber that jumps back whenever it is entered.
///
/// Both sides have the same sticky floating-point flags, as all of roving's have: jump_fcontext takes many times as
/// long on some processors when they differ. Thread safety: the thread that made it.
class jump_partner {
 public:
  /// `work` is called each time, on the fiber.
  explicit jump_partner(void (*work)() noexcept = []() noexcept {}) : work_{work} {
    roving::detail::agree_on_floating_point_flags();  // make_fcontext() writes the caller's down
    place_ = boost::context::detail::make_fcontext(stack_.top(), bare_stack::size_bytes, &answer);
  }
  jump_partner(const jump_partner&) = delete;
  jump_partner& operator=(const jump_partner&) = delete;

  /// There and back: two jumps.
  void visit() noexcept { place_ = boost::context::detail::jump_fcontext(place_, this).fctx; }

 private:
  static void answer(boost::context::detail::transfer_t came) noexcept {
    auto& self = *static_cast<jump_partner*>(came.data);
    for (;;) {
      self.work_();
      came = boost::context::detail::jump_fcontext(came.fctx, nullptr);
    }
  }

  void (*work_)() noexcept;
  bare_stack stack_;
  boost::context::detail::fcontext_t place_;
};

}  // namespace roving_perf
