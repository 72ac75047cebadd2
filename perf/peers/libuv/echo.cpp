// An echo server by libuv: `echo [--port N]`, ended by a signal.
//
// An answer is written at once as far as the socket takes it (uv_try_write), which saves a request and a callback; what
// is left is written by the loop while no more is read.
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <uv.h>

#include "perf/peers/server.hpp"

namespace {

void check(int result, const char* call) {
  if (result >= 0) return;
  std::fprintf(stderr, "%s: %s\n", call, uv_strerror(result));
  std::exit(1);
}

struct connection {
  uv_tcp_t socket;  // first, so that both have one address
  uv_write_t writing;
  std::array<char, 4096> buffer;

  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&socket); }
  uv_handle_t* handle() { return reinterpret_cast<uv_handle_t*>(&socket); }

  template <class Handle>
  static connection& of(Handle* handle) {
    return *reinterpret_cast<connection*>(handle);
  }

  void close() {
    if (uv_is_closing(handle()) != 0) return;
    uv_close(handle(), [](uv_handle_t* closed) { delete &of(closed); });
  }

  void read() {
    uv_read_start(
        stream(),
        [](uv_handle_t* from, std::size_t, uv_buf_t* into) {
          connection& self = of(from);
          *into = uv_buf_init(self.buffer.data(), static_cast<unsigned>(self.buffer.size()));
        },
        [](uv_stream_t* from, ssize_t bytes, const uv_buf_t*) {
          if (bytes < 0) return of(from).close();
          if (bytes > 0) of(from).answer(static_cast<std::size_t>(bytes));
        });
  }

  void answer(std::size_t bytes) {
    uv_buf_t all = uv_buf_init(buffer.data(), static_cast<unsigned>(bytes));
    const int written = uv_try_write(stream(), &all, 1);
    if (written == static_cast<int>(bytes)) return;
    if (written < 0 && written != UV_EAGAIN) return close();
    const std::size_t sent = written < 0 ? 0 : static_cast<std::size_t>(written);
    uv_buf_t rest = uv_buf_init(buffer.data() + sent, static_cast<unsigned>(bytes - sent));
    uv_read_stop(stream());  // the buffer is in use
    writing.data = this;
    uv_write(&writing, stream(), &rest, 1, [](uv_write_t* done, int status) {
      auto& self = *static_cast<connection*>(done->data);
      if (status < 0)
        self.close();
      else
        self.read();
    });
  }
};

void accept(uv_stream_t* listener, int status) {
  check(status, "listen");
  auto* const made = new connection;
  check(uv_tcp_init(listener->loop, &made->socket), "uv_tcp_init");
  if (uv_accept(listener, made->stream()) < 0) return made->close();
  uv_tcp_nodelay(&made->socket, 1);
  made->read();
}

}  // namespace

int main(int count, char** arguments) {
  std::signal(SIGPIPE, SIG_IGN);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(roving_perf::port_of(count, arguments));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  uv_loop_t loop;
  check(uv_loop_init(&loop), "uv_loop_init");
  uv_tcp_t listener;
  check(uv_tcp_init(&loop, &listener), "uv_tcp_init");
  check(uv_tcp_bind(&listener, reinterpret_cast<const sockaddr*>(&address), 0), "bind");
  check(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), roving_perf::backlog, &accept), "listen");
  int size = sizeof address;
  check(uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  roving_perf::say_port(ntohs(address.sin_port));
  return uv_run(&loop, UV_RUN_DEFAULT);
}
