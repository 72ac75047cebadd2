// What a task can ask of itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <roving/task_view.hpp>

#pragma GCC visibility push(default)

/// All of these: do not suspend; throw not_in_task where there is no current task (in a callback, on a plain thread).
namespace roving::this_task {

/// The number of the shard that runs it now. A roving task's may be another after each suspension.
[[nodiscard]] unsigned shard();

/// Whether any shard may run it.
[[nodiscard]] bool is_roving();

/// A handle of it that does not own it.
[[nodiscard]] task_view handle();

[[nodiscard]] std::string name();
void set_name(std::string_view name);

/// Requests a cancel of the current task: the next suspension throws `cancelled`. A task that ends before counts as
/// cancelled.
void cancel();
void cancel(std::string_view message);

/// Takes one request back; returns how many are left.
std::uint32_t uncancel();
[[nodiscard]] std::uint32_t cancelling();

}  // namespace roving::this_task

namespace roving {

/// Whether the caller is in a task.
[[nodiscard]] bool in_task() noexcept;

/// The number of shards of the current runtime. Throws no_shard off every shard.
[[nodiscard]] unsigned shard_count();

}  // namespace roving

#pragma GCC visibility pop
