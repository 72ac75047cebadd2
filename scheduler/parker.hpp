// The seam between a shard and what it waits for from outside: the kernel queue in production, a virtual clock and an
// in-memory network in simulation. scheduler/ knows no descriptor; io/ implements this over the poller, runtime/ plugs
// it in.
//
// The poller returns a list and never calls up: what it found ready was claimed by it (detail::claim) and is pushed to
// `ready`; the shard that asked sends it on with make_ready(), which knows where each task belongs.
#pragma once

#include <roving/detail/ready_node.hpp>
#include <roving/time.hpp>

namespace roving::detail {

class parker {
 public:
  parker() = default;
  parker(const parker&) = delete;
  parker& operator=(const parker&) = delete;
  virtual ~parker() = default;

  /// Blocks until something is ready, wake() was called, or `until` has passed (time_point::max(): never). Returns
  /// early for no reason at times; never because of time before `until`. Its shard only. Not interrupted by service().
  virtual void wait(time_point until, ready_list& ready) noexcept = 0;

  /// Adds what is ready now, and does not block. Its shard only. Finds nothing while another shard services it.
  virtual void poll(ready_list& ready) noexcept = 0;

  /// The same from another shard, while this one is stuck. False when the owner polls or waits at this moment.
  virtual bool service(ready_list& ready) noexcept = 0;

  /// Ends the wait() that goes on, or else the next one. Any thread, also a signal handler.
  virtual void wake() noexcept = 0;
};

}  // namespace roving::detail
