// A piece of work for a pool of threads that are no shards'.
#pragma once

#include <exception>

#pragma GCC visibility push(default)

namespace roving::detail {

/// Lies where its owner put it until the pool that took it calls run() or drop(), once. The owner may free it in there.
struct job {
  using run_function = void (*)(job&) noexcept;
  using drop_function = void (*)(job&, const std::exception_ptr& why) noexcept;

  job(run_function how, drop_function unrun) noexcept : run{how}, drop{unrun} {}
  job(const job&) = delete;
  job& operator=(const job&) = delete;

  run_function run;    // on a thread of the pool
  drop_function drop;  // it will never run: the pool was abandoned, or can get no thread

  // --- the pool's, guarded by its lock
  job* next = nullptr;
  job* previous = nullptr;
  bool queued = false;

 protected:
  ~job() = default;
};

}  // namespace roving::detail

#pragma GCC visibility pop
