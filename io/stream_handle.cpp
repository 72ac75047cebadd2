// Reads and writes that wait.
#include <roving/detail/stream_handle.hpp>

#include <array>
#include <utility>

#include <roving/io_error.hpp>

#include "io/errors.hpp"
#include "io/system_calls.hpp"

namespace roving::detail {
namespace {

// As many of the buffers as one call takes, without the empty ones. Few enough for a task's stack.
class vectors {
 public:
  template <class Buffer>
  explicit vectors(std::span<const Buffer> buffers, std::size_t skipped_bytes = 0) noexcept {
    for (const Buffer& each : buffers) {
      if (count_ == vectors_.size()) break;
      if (skipped_bytes >= each.size()) {
        skipped_bytes -= each.size();
        continue;
      }
      const Buffer rest = each.behind(std::exchange(skipped_bytes, 0));
      vectors_[count_++] = {const_cast<void*>(static_cast<const void*>(rest.data())), rest.size()};
      size_bytes_ += rest.size();
    }
  }

  [[nodiscard]] const iovec* data() const noexcept { return vectors_.data(); }
  [[nodiscard]] int count() const noexcept { return static_cast<int>(count_); }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }

 private:
  std::array<iovec, 64> vectors_;
  std::size_t count_ = 0;
  std::size_t size_bytes_ = 0;
};

}  // namespace

template <class Call>
std::size_t stream_handle::read(std::size_t size_bytes, std::error_code& error, const char* name, Call receive) {
  error.clear();
  if (!is_open()) {
    error = error_of(-EBADF);
    return 0;
  }
  if (size_bytes == 0) return 0;
  for (;;) {
    if (!drained_) {
      const std::ptrdiff_t received = receive();
      if (received >= 0) {
        const std::size_t bytes = static_cast<std::size_t>(received);
        drained_ = bytes != 0 && bytes < size_bytes;  // the end of the stream is there to be read again
        return bytes;
      }
      if (received == -EINTR) continue;
      if (!would_block(received)) {
        error = error_of(received);
        return 0;
      }
    }
    error = wait(io_direction::read, drained_, name);
    if (error) return 0;  // and touch nothing: it may be gone
    drained_ = false;
  }
}

template <class Call>
std::size_t stream_handle::write(std::error_code& error, const char* name, Call send) {
  error.clear();
  if (!is_open()) {
    error = error_of(-EBADF);
    return 0;
  }
  for (;;) {
    const std::ptrdiff_t sent = send();
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (sent == -EINTR) continue;
    error = would_block(sent) ? wait(io_direction::write, false, name) : error_of(sent);
    if (error) return 0;
  }
}

std::size_t stream_handle::read_some(mutable_buffer into, std::error_code& error, const char* call) {
  return read(into.size(), error, call, [&] { return calls().receive(fd(), into.data(), into.size()); });
}

std::size_t stream_handle::read_some(std::span<const mutable_buffer> into, std::error_code& error, const char* call) {
  const vectors all{into};
  return read(all.size_bytes(), error, call, [&] { return calls().receive(fd(), all.data(), all.count()); });
}

std::size_t stream_handle::read_exactly(mutable_buffer into, std::error_code& error, const char* call) {
  std::size_t done = 0;
  error.clear();
  while (done < into.size()) {
    const std::size_t bytes = read_some(into.behind(done), error, call);
    if (error) break;
    if (bytes == 0) {
      error = io_errc::end_of_stream;
      break;
    }
    done += bytes;
  }
  return done;
}

std::size_t stream_handle::write_some(const_buffer from, std::error_code& error, const char* call) {
  if (from.empty() && is_open()) {
    error.clear();
    return 0;
  }
  return write(error, call, [&] { return calls().send(fd(), from.data(), from.size()); });
}

std::size_t stream_handle::write_some(std::span<const const_buffer> from, std::error_code& error, const char* call) {
  const vectors all{from};
  if (all.size_bytes() == 0) return write_some(const_buffer{}, error, call);
  return write(error, call, [&] { return calls().send(fd(), all.data(), all.count()); });
}

std::size_t stream_handle::write_all(const_buffer from, std::error_code& error, const char* call) {
  std::size_t done = 0;
  error.clear();
  while (done < from.size()) {
    done += write_some(from.behind(done), error, call);
    if (error) break;
  }
  return done;
}

std::size_t stream_handle::write_all(std::span<const const_buffer> from, std::error_code& error, const char* call) {
  std::size_t done = 0;
  for (std::size_t skipped = 0;;) {
    const vectors rest{from, skipped};
    if (rest.size_bytes() == 0) break;
    const std::size_t bytes = write(error, call, [&] { return calls().send(fd(), rest.data(), rest.count()); });
    if (error) return done;
    done += bytes;
    skipped += bytes;
    while (!from.empty() && skipped >= from.front().size()) {
      skipped -= from.front().size();
      from = from.subspan(1);
    }
  }
  error.clear();
  return done;
}

void stream_handle::shutdown(int how, std::error_code& error) noexcept {
  error.clear();
  if (const int result = is_open() ? calls().shutdown(fd(), how) : -EBADF; result < 0) error = error_of(result);
}

}  // namespace roving::detail
