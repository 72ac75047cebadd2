// Callbacks: posted, due later, and told when something is done. See operations.hpp.
#include <chrono>

#include <roving/done_callback.hpp>
#include <roving/post.hpp>

#include "tests/conformance/world.hpp"

namespace conformance {
namespace {

// What is posted need not be told from other postings, so it is a callable of its own.
auto caller_of(world& in, const std::string& key) {
  return [&in, key] { in.run_callback(key); };
}

}  // namespace

std::string do_post(world& in, const operation& op) {
  in.put_posted(op.name(0), roving::post(caller_of(in, op.name(1))));
  return ok;
}

std::string do_later(world& in, const operation& op) {
  const std::chrono::milliseconds span{op.number(1)};
  in.put_posted(op.name(0), roving::post_after(span, caller_of(in, op.name(2))));
  return ok;
}

std::string do_cancel_handle(world& in, const operation& op) {
  roving::callback_handle posted = in.find_posted(op.name());
  if (!posted) return empty;
  posted.cancel();
  return ok;
}

std::string do_handle_cancelled(world& in, const operation& op) {
  const roving::callback_handle posted = in.find_posted(op.name());
  return posted ? text_of_flag(posted.cancelled()) : empty;
}

std::string do_on_done(world& in, const operation& op) {
  const future_handle of = in.find(op.name(0));
  if (!of) return empty;
  roving::detail::add_done_callback(*of, in.callback(op.name(1)), roving::spawn_site::current(), "on_done");
  return ok;
}

std::string do_off_done(world& in, const operation& op) {
  const future_handle of = in.find(op.name(0));
  if (!of) return empty;
  return std::to_string(roving::detail::remove_done_callback(*of, in.callback(op.name(1))));
}

}  // namespace conformance
