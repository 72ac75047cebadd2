// Waiting for descriptors that belong to others: a database client's socket, a device, a pipe of a library.
//
// For each wait the descriptor is watched once and level-triggered, and it is forgotten before the wait returns:
// libraries don't read until there is nothing, and close behind our back.
#pragma once

#include <system_error>

namespace roving {

/// Waits until `fd` can be read, or its other end is closed. Whoever waits reads for himself; `fd` should not block.
///
/// Suspends: yes, unless it is a regular file, which is always ready. Needs a shard.
/// Errors: bad_file_descriptor, not_enough_memory; no_shard. Throws `cancelled` in both forms.
/// Thread safety: any number of tasks may wait for one descriptor.
/// Lifetime: `fd` must not be closed while somebody waits for it.
void wait_readable(int fd);
void wait_readable(int fd, std::error_code& error);

/// Waits until `fd` can be written, or its other end is closed. All else as above.
void wait_writable(int fd);
void wait_writable(int fd, std::error_code& error);

}  // namespace roving
