// See <roving/done_callback.hpp>. A done-callback is told directly, by whoever completes the future, and sends itself
// to where it was registered: that shard may be gone, and the future may not.
#include <roving/done_callback.hpp>

#include <string>

#include <roving/error.hpp>

#include "scheduler/gate.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {
namespace detail {
namespace {

done_registration& registration_of(ready_node& node) noexcept {
  return static_cast<done_registration&>(static_cast<posted_callback&>(node));
}

ready_node* take_registration(done_node& node) noexcept {
  return static_cast<posted_callback*>(&static_cast<done_registration&>(node));
}

class registration_on_shard final : public done_registration {
 public:
  registration_on_shard(counted_reference<done_function> what, gate& door)
      : done_registration{[](counted& self) noexcept { delete static_cast<registration_on_shard*>(&self); }, &deliver,
                          std::move(what)},
        door_{gate_reference::share(&door)} {}

 private:
  ~registration_on_shard() = default;

  static void deliver(ready_node& node) noexcept {
    auto& self = static_cast<registration_on_shard&>(static_cast<posted_callback&>(node));
    self.kind = ready_kind::posted;
    self.run = &run_it;
    self.drop = &drop_it;
    shard* const here = this_shard();
    if (here != nullptr && &here->door() == self.door_.get() && !here->owner().is_closed()) {
      here->append(self);
      return;
    }
    gate& door = *self.door_;  // not by way of self, which may be run as soon as it is sent
    const gate_pass inside{door};
    if (inside)
      inside->receive(self);
    else
      self.release();
  }
  static void run_it(ready_node& node) noexcept {
    registration_of(node).call();
    registration_of(node).release();
  }
  static void drop_it(ready_node& node) noexcept { registration_of(node).release(); }

  gate_reference door_;
};

}  // namespace

done_registration::done_registration(destroy_function end, ready_node::function deliver,
                                     counted_reference<done_function> what) noexcept
    : counted{end},
      done_node{&take_registration},
      posted_callback{nullptr, deliver, nullptr},
      function_{std::move(what)},
      context_{capture_context()} {
  kind = ready_kind::direct;
}

void done_registration::call() noexcept {
  const context_scope sees{std::move(context_)};
  try {
    function_->call(*function_);
  } catch (...) {
    report_from_callback("exception in a done-callback", function_->made_at);
  }
}

void report_from_callback(const char* what, spawn_site where) noexcept {
  try {
    const unhandled found{
        std::string{what} + ", made at " + where.file + ":" + std::to_string(where.line), std::current_exception(), {}};
    if (shard* const here = this_shard())
      here->owner().report(found);
    else
      report_on_stderr(found);
  } catch (...) {  // no memory for the text
  }
}

counted_reference<done_registration> register_on_this_shard(counted_reference<done_function> what, const char* call) {
  shard* const here = this_shard();
  if (here == nullptr)
    throw no_shard{std::string{call} +
                   " (give it an executor there: any shard of a runtime, a pool, or whatever has post())"};
  if (here->owner().is_closed()) throw runtime_closed{call};
  return counted_reference<done_registration>{new registration_on_shard{std::move(what), here->door()}};
}

void add_registration(future_base& of, counted_reference<done_registration> made) noexcept {
  done_registration& added = *made.take();
  if (!of.subscribe(added)) make_ready(*take_registration(added));
}

std::size_t remove_registrations(future_base& of, const done_function& what) noexcept {
  done_node* removed = of.unsubscribe_all(
      [](const done_node& node, const void* key) {
        return node.take == &take_registration && static_cast<const done_registration&>(node).function_.get() == key;
      },
      &what);
  std::size_t count = 0;
  for (; removed != nullptr; ++count) {
    auto& each = static_cast<done_registration&>(*removed);
    removed = removed->next;
    each.release();
  }
  return count;
}

std::size_t remove_done_callback(future_base& of, const done_callback& what) {
  return remove_registrations(of, *what.function("remove_on_done"));
}

}  // namespace detail

const detail::counted_reference<detail::done_function>& done_callback::function(const char* call) const {
  if (!function_) throw invalid_state{std::string{call} + ": the done_callback is empty"};
  return function_;
}

}  // namespace roving
