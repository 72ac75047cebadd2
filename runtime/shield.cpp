// See <roving/shield.hpp>. The meaning, and for pinned tasks the order, is asyncio.shield's.
#include <roving/shield.hpp>

#include <roving/future.hpp>

#include "runtime/watcher.hpp"

namespace roving::detail {
namespace {

// What stands between: a cancel stops here.
class shield_state final : public watcher {
 public:
  shield_state(std::span<future_base* const> inner, const char* call) : watcher{&operations, inner, call} {}
  void begin() noexcept { watch_all(); }
  void end() noexcept { forget_all(); }

 private:
  void told(node& inner) noexcept override {
    if (!begin_completion()) return;
    // Cancelled as the inner one, without its message.
    finish(inner.watched->status() == outcome::cancelled ? outcome::cancelled : outcome::value);
  }

  static constexpr future_operations operations{&cancel_future, &destroy, false, nullptr, &depends_on};
};

}  // namespace

void shield_future(future_base& inner, const char* call) {
  if (!inner.is_done()) {
    future_base* const one[] = {&inner};
    const future_reference<shield_state> outer{new shield_state{one, call}};
    outer->begin();
    const bool has_cancel = outer->await(call);
    outer->end();
    if (has_cancel) throw_cancelled();
    outer->throw_failure();
  }
  inner.throw_failure();
}

}  // namespace roving::detail
