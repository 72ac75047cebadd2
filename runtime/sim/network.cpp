// See network.hpp.
#include "runtime/sim/network.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>

#include <roving/detail/assert.hpp>

namespace roving::sim {

using detail::interest;
using detail::readiness;

namespace {

constexpr int first_descriptor = 3;
constexpr std::uint16_t first_ephemeral_port = 32768;

endpoint endpoint_of(const sockaddr* address, socklen_t size) {
  return detail::from_socket_address(address, size).value_or(endpoint{});
}

int give_name(const endpoint& name, sockaddr* address, socklen_t* size) {
  const detail::socket_address full{name};
  std::memcpy(address, full.data(), std::min(*size, full.size()));
  *size = full.size();
  return 0;
}

}  // namespace

// A watch of one descriptor by one poller.
struct watch {
  int fd;
  sim_poller* by;
  std::uint64_t token;
  interest what;
};

// What a descriptor, or several, stand for.
struct socket_state {
  enum class kind { fresh, listening, connecting, connected };
  kind is = kind::fresh;
  int descriptors = 1;
  int family = AF_INET;
  std::optional<endpoint> local;
  std::optional<endpoint> remote;
  bool reuse_port = false;
  std::vector<watch> watches;

  // listening
  int backlog = 0;
  std::deque<std::shared_ptr<socket_state>> waiting;

  // connected
  std::weak_ptr<socket_state> peer;
  std::deque<std::byte> received;
  std::size_t capacity = 0;     // of received
  std::size_t under_way = 0;    // bytes that were sent here and have not come
  time_point last_arrival{};    // of what was sent here
  bool peer_has_ended = false;  // its end has come
  bool has_ended = false;       // nothing more is sent
  bool reads_no_more = false;
  bool writer_waits = false;  // the peer found no room
  int error = 0;              // told once: reset, refused
  bool was_reset = false;
};

struct network::state {
  state(simulation& whose, const network_faults& given) : of{whose} {
    choice_source& choices = of.choices();
    const auto drawn = [&](std::optional<unsigned> fixed, std::uint32_t most) {
      if (fixed) return *fixed;
      return choices.of_setting(2) == 0 ? 0 : choices.of_setting(most);
    };
    constexpr std::uint32_t often = 300;
    constexpr std::uint32_t rarely = 100;
    short_reads = drawn(given.short_reads, often);
    would_block = drawn(given.would_block, rarely);
    interrupts = drawn(given.interrupts, rarely);
    no_resources = given.no_resources;
    lost_connections = given.lost_connections ? *given.lost_connections : drawn(std::nullopt, 10);
    // From none to 1.6 ms, most of them short: what happens at the same time is what shows faults.
    constexpr std::uint32_t doublings = 15;
    const std::uint32_t drawn_latency = choices.of_setting(doublings);
    latency = given.latency  ? *given.latency
        : drawn_latency == 0 ? duration::zero()
                             : std::chrono::nanoseconds{100} * (1U << drawn_latency);
    buffer_bytes = std::size_t{512} << choices.of_setting(9);  // 512 bytes to 128 KiB
  }

  std::shared_ptr<socket_state> at(int fd) {
    const auto place = static_cast<std::size_t>(fd - first_descriptor);
    return fd >= first_descriptor && place < table.size() ? table[place] : nullptr;
  }

  // The lowest number that is free, as in a kernel: it is used again at once.
  int give_number(std::shared_ptr<socket_state> to) {
    const auto free = std::find(table.begin(), table.end(), nullptr);
    const auto place = static_cast<std::size_t>(free - table.begin());
    if (free == table.end())
      table.push_back(std::move(to));
    else
      *free = std::move(to);
    return first_descriptor + static_cast<int>(place);
  }

  std::uint16_t free_port() {
    while (std::any_of(listening.begin(), listening.end(),
                       [&](const auto& each) { return each->local->port() == next_port; }))
      ++next_port;
    return next_port++;
  }

  time_point arrival(socket_state& at) {
    time_point when = of.now();
    if (latency > duration::zero()) {
      constexpr std::uint32_t parts = 16;
      when += latency / parts * of.choices().below(parts);
    }
    at.last_arrival = std::max(at.last_arrival, when);  // in order
    return at.last_arrival;
  }

  static readiness ready_now(const socket_state& of) {
    readiness is;
    switch (of.is) {
      case socket_state::kind::listening:
        is.readable = !of.waiting.empty();
        break;
      case socket_state::kind::connected: {
        is.readable = !of.received.empty() || of.peer_has_ended || of.was_reset;
        const auto peer = of.peer.lock();
        is.writable = of.was_reset || !peer || peer->received.size() + peer->under_way < peer->capacity;
        is.hung_up = of.peer_has_ended || of.was_reset;
        break;
      }
      case socket_state::kind::fresh:
        is = {.readable = true, .writable = true, .hung_up = true};
        break;
      case socket_state::kind::connecting:
        break;
    }
    if (of.error != 0) is = {.readable = true, .writable = true, .hung_up = true};
    return is;
  }

  void tell(socket_state& socket, readiness what) {
    for (std::size_t i = 0; i < socket.watches.size();) {
      const watch each = socket.watches[i];
      const bool once = each.what != interest::edges;
      const bool matters = each.what == interest::readable_once ? what.readable || what.hung_up
          : each.what == interest::writable_once                ? what.writable || what.hung_up
                                                                : true;
      if (once && matters)
        socket.watches.erase(socket.watches.begin() + static_cast<std::ptrdiff_t>(i));
      else
        ++i;
      if (matters) each.by->tell(each.token, what);
    }
  }

  // Told again a little later, as if more had come: for what was drawn to fall short.
  void tell_again(const std::shared_ptr<socket_state>& socket) {
    of.at(of.now() + std::chrono::microseconds{1}, [this, socket] { tell(*socket, ready_now(*socket)); });
  }

  void reset(const std::shared_ptr<socket_state>& socket) {
    if (socket->was_reset || socket->is != socket_state::kind::connected) return;
    socket->was_reset = true;
    socket->error = ECONNRESET;
    socket->received.clear();
    tell(*socket, {.readable = true, .writable = true, .hung_up = true});
  }

  void send_reset(const std::shared_ptr<socket_state>& to) {
    of.at(arrival(*to), [this, to] { reset(to); });
  }

  void send_end(const std::shared_ptr<socket_state>& to) {
    of.at(arrival(*to), [this, to] {
      if (to->was_reset) return;
      to->peer_has_ended = true;
      tell(*to, {.readable = true, .hung_up = true});
    });
  }

  // The last descriptor is gone.
  void let_go(const std::shared_ptr<socket_state>& socket) {
    if (socket->is == socket_state::kind::listening) {
      listening.erase(std::remove(listening.begin(), listening.end(), socket), listening.end());
      for (const auto& each : std::exchange(socket->waiting, {}))
        if (const auto peer = each->peer.lock()) send_reset(peer);
      return;
    }
    const auto peer = socket->peer.lock();
    if (!peer || socket->was_reset) return;
    if (!socket->received.empty())
      send_reset(peer);
    else if (!socket->has_ended)
      send_end(peer);
    socket->has_ended = true;
    socket->reads_no_more = true;
  }

  std::shared_ptr<socket_state> listener_for(const endpoint& to) {
    std::vector<std::shared_ptr<socket_state>> all;
    for (const auto& each : listening)
      if (each->local->port() == to.port()) all.push_back(each);
    if (all.empty()) return nullptr;
    return all[of.choices().below(static_cast<std::uint32_t>(all.size()))];
  }

  bool draws(unsigned parts_of_1000) { return of.choices().happens(parts_of_1000); }

  // What a call says that finds no memory, and no descriptors if it needs one; mostly 0.
  int want_of_resources(bool needs_descriptor) {
    if (!draws(no_resources)) return 0;
    constexpr std::array<int, 4> errors{ENOBUFS, ENOMEM, EMFILE, ENFILE};
    return -errors[of.choices().below(needs_descriptor ? 4 : 2)];
  }

  simulation& of;
  unsigned short_reads = 0;
  unsigned would_block = 0;
  unsigned interrupts = 0;
  unsigned lost_connections = 0;
  unsigned no_resources = 0;
  duration latency{};
  std::size_t buffer_bytes = 0;
  std::vector<std::shared_ptr<socket_state>> table;
  std::vector<std::shared_ptr<socket_state>> listening;
  std::uint16_t next_port = first_ephemeral_port;
};

network::network(simulation& of, const network_faults& faults) : state_{std::make_unique<state>(of, faults)} {}
network::~network() = default;

std::size_t network::open_descriptors() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(state_->table.begin(), state_->table.end(), [](const auto& each) { return each != nullptr; }));
}

// --- the calls -------------------------------------------------------------------------------------------------------

int network::open_socket(int family, int type, int) const noexcept {
  state_->of.point();
  if (type != SOCK_STREAM) return -EPROTONOSUPPORT;
  if (const int error = state_->want_of_resources(true)) return error;
  auto made = std::make_shared<socket_state>();
  made->family = family;
  const int fd = state_->give_number(std::move(made));
  state_->of.note("socket", static_cast<std::uint64_t>(fd));
  return fd;
}

int network::bind(int fd, const sockaddr* address, socklen_t size) const noexcept {
  state_->of.point();
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  endpoint wanted = endpoint_of(address, size);
  for (const auto& each : state_->listening)
    if (wanted.port() != 0 && each->local->port() == wanted.port() && !(each->reuse_port && socket->reuse_port))
      return -EADDRINUSE;
  if (wanted.port() == 0) wanted = wanted.with_port(state_->free_port());
  socket->local = wanted;
  return 0;
}

int network::listen(int fd, int backlog) const noexcept {
  state_->of.point();
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  if (!socket->local) return -EINVAL;
  socket->is = socket_state::kind::listening;
  socket->backlog = std::max(1, backlog);
  state_->listening.push_back(socket);
  return 0;
}

int network::accept(int fd) const noexcept {
  state_->of.point();
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  if (socket->is != socket_state::kind::listening) return -EINVAL;
  if (state_->draws(state_->interrupts)) return -EINTR;
  if (socket->waiting.empty()) return -EAGAIN;
  if (const int error = state_->want_of_resources(true)) return error;
  if (state_->draws(state_->would_block)) {
    state_->tell_again(socket);
    return -EAGAIN;
  }
  const auto accepted = socket->waiting.front();
  socket->waiting.pop_front();
  accepted->descriptors = 1;
  const int made = state_->give_number(accepted);
  state_->of.note("accept", static_cast<std::uint64_t>(fd), static_cast<std::uint64_t>(made));
  return made;
}

int network::connect(int fd, const sockaddr* address, socklen_t size) const noexcept {
  state_->of.point();
  state* const net = state_.get();
  const auto socket = net->at(fd);
  if (!socket) return -EBADF;
  if (socket->is == socket_state::kind::connected) return -EISCONN;
  if (socket->is == socket_state::kind::connecting) return -EALREADY;
  if (const int error = net->want_of_resources(false)) return error;
  const endpoint to = endpoint_of(address, size);
  socket->is = socket_state::kind::connecting;
  socket->remote = to;
  if (!socket->local) socket->local = to.with_port(net->free_port());
  socket->capacity = net->buffer_bytes;
  net->of.at(net->arrival(*socket), [net, socket, to] {
    if (socket->descriptors == 0) return;  // closed meanwhile
    const auto listener = net->listener_for(to);
    if (!listener || listener->waiting.size() >= static_cast<std::size_t>(listener->backlog)) {
      socket->is = socket_state::kind::fresh;
      socket->error = listener ? ETIMEDOUT : ECONNREFUSED;
      net->tell(*socket, {.readable = true, .writable = true, .hung_up = true});
      return;
    }
    auto other = std::make_shared<socket_state>();
    other->is = socket_state::kind::connected;
    other->descriptors = 0;
    other->family = socket->family;
    other->local = to;
    other->remote = socket->local;
    other->capacity = net->buffer_bytes;
    other->peer = socket;
    socket->peer = other;
    socket->is = socket_state::kind::connected;
    listener->waiting.push_back(std::move(other));
    net->tell(*socket, {.writable = true});
    net->tell(*listener, {.readable = true});
  });
  return -EINPROGRESS;
}

std::ptrdiff_t network::receive(int fd, void* into, std::size_t size_bytes) const noexcept {
  state_->of.point();
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  if (socket->is != socket_state::kind::connected) return -ENOTCONN;
  if (state_->draws(state_->lost_connections)) {
    if (const auto peer = socket->peer.lock()) state_->send_reset(peer);
    state_->reset(socket);
  }
  if (socket->error != 0) return -std::exchange(socket->error, 0);
  if (socket->was_reset || socket->reads_no_more) return 0;
  if (size_bytes == 0) return 0;
  if (state_->draws(state_->interrupts)) return -EINTR;
  if (const int error = state_->want_of_resources(false)) return error;
  if (socket->received.empty()) return socket->peer_has_ended ? 0 : -EAGAIN;
  if (state_->draws(state_->would_block)) {
    state_->tell_again(socket);
    return -EAGAIN;
  }
  std::size_t taken = std::min(size_bytes, socket->received.size());
  if (taken > 1 && state_->draws(state_->short_reads)) {
    taken = 1 + state_->of.choices().below(static_cast<std::uint32_t>(taken - 1));
    state_->tell_again(socket);
  }
  std::copy_n(socket->received.begin(), taken, static_cast<std::byte*>(into));
  socket->received.erase(socket->received.begin(), socket->received.begin() + static_cast<std::ptrdiff_t>(taken));
  state_->of.note("receive", static_cast<std::uint64_t>(fd), taken);
  if (const auto peer = socket->peer.lock(); peer && std::exchange(socket->writer_waits, false))
    state_->tell(*peer, {.writable = true});
  return static_cast<std::ptrdiff_t>(taken);
}

std::ptrdiff_t network::receive(int fd, const iovec* into, int count) const noexcept {
  std::ptrdiff_t all = 0;
  for (int i = 0; i < count; ++i) {
    const std::ptrdiff_t got = receive(fd, into[i].iov_base, into[i].iov_len);
    if (got < 0) return all != 0 ? all : got;
    all += got;
    if (static_cast<std::size_t>(got) < into[i].iov_len) break;
  }
  return all;
}

std::ptrdiff_t network::send(int fd, const void* from, std::size_t size_bytes) const noexcept {
  state_->of.point();
  state* const net = state_.get();
  const auto socket = net->at(fd);
  if (!socket) return -EBADF;
  if (socket->is != socket_state::kind::connected) return socket->remote ? -EPIPE : -ENOTCONN;
  if (net->draws(net->lost_connections)) {
    if (const auto peer = socket->peer.lock()) net->send_reset(peer);
    net->reset(socket);
  }
  if (socket->error != 0) return -std::exchange(socket->error, 0);
  if (socket->was_reset || socket->has_ended) return -EPIPE;
  if (net->draws(net->interrupts)) return -EINTR;
  if (const int error = net->want_of_resources(false)) return error;
  const auto peer = socket->peer.lock();
  if (!peer || peer->reads_no_more) {  // it is gone: the first write is taken, and answered by a reset
    net->send_reset(socket);
    return static_cast<std::ptrdiff_t>(size_bytes);
  }
  const std::size_t used = peer->received.size() + peer->under_way;
  if (used >= peer->capacity) {
    peer->writer_waits = true;
    return -EAGAIN;
  }
  if (net->draws(net->would_block)) {
    net->of.note("send finds no room", static_cast<std::uint64_t>(fd));
    net->tell_again(socket);
    return -EAGAIN;
  }
  std::size_t taken = std::min(size_bytes, peer->capacity - used);
  if (taken < size_bytes) peer->writer_waits = true;
  if (taken > 1 && net->draws(net->short_reads)) {
    taken = 1 + net->of.choices().below(static_cast<std::uint32_t>(taken - 1));
    net->tell_again(socket);
  }
  net->of.note("send", static_cast<std::uint64_t>(fd), taken);
  peer->under_way += taken;
  const auto* const bytes = static_cast<const std::byte*>(from);
  for (std::size_t at = 0; at < taken;) {
    std::size_t piece = taken - at;
    if (piece > 1 && net->draws(net->short_reads))
      piece = 1 + net->of.choices().below(static_cast<std::uint32_t>(piece - 1));
    net->of.at(net->arrival(*peer), [net, peer, data = std::vector<std::byte>(bytes + at, bytes + at + piece)] {
      peer->under_way -= data.size();
      if (peer->was_reset || peer->reads_no_more) return;
      peer->received.insert(peer->received.end(), data.begin(), data.end());
      net->tell(*peer, {.readable = true});
    });
    at += piece;
  }
  return static_cast<std::ptrdiff_t>(taken);
}

std::ptrdiff_t network::send(int fd, const iovec* from, int count) const noexcept {
  std::ptrdiff_t all = 0;
  for (int i = 0; i < count; ++i) {
    if (from[i].iov_len == 0) continue;
    const std::ptrdiff_t sent = send(fd, from[i].iov_base, from[i].iov_len);
    if (sent < 0) return all != 0 ? all : sent;
    all += sent;
    if (static_cast<std::size_t>(sent) < from[i].iov_len) break;
  }
  return all;
}

int network::shutdown(int fd, int how) const noexcept {
  state_->of.point();
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  if (socket->is != socket_state::kind::connected || socket->was_reset) return -ENOTCONN;
  if (how != SHUT_RD && !std::exchange(socket->has_ended, true))
    if (const auto peer = socket->peer.lock()) state_->send_end(peer);
  if (how != SHUT_WR) {
    socket->reads_no_more = true;
    state_->tell(*socket, {.readable = true, .hung_up = true});
  }
  return 0;
}

int network::close(int fd) const noexcept {
  state_->of.point();
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  state_->of.note("close", static_cast<std::uint64_t>(fd));
  state_->table[static_cast<std::size_t>(fd - first_descriptor)] = nullptr;
  auto& watches = socket->watches;
  watches.erase(std::remove_if(watches.begin(), watches.end(), [fd](const watch& each) { return each.fd == fd; }),
                watches.end());
  if (--socket->descriptors == 0) state_->let_go(socket);
  return 0;
}

int network::duplicate(int fd) const noexcept {
  state_->of.point();
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  ++socket->descriptors;
  return state_->give_number(socket);
}

int network::get_option(int fd, int level, int name, void* value, socklen_t* size) const noexcept {
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  int answer = 0;
  if (level == SOL_SOCKET && name == SO_ERROR) answer = std::exchange(socket->error, 0);
  if (level == SOL_SOCKET && name == SO_TYPE) answer = SOCK_STREAM;
  std::memcpy(value, &answer, std::min<std::size_t>(*size, sizeof answer));
  *size = sizeof answer;
  return 0;
}

int network::set_option(int fd, int level, int name, const void* value, socklen_t size) const noexcept {
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  int given = 0;
  std::memcpy(&given, value, std::min<std::size_t>(size, sizeof given));
  if (level == SOL_SOCKET && name == SO_REUSEPORT) socket->reuse_port = given != 0;
  return 0;  // the others change nothing here
}

int network::local_name(int fd, sockaddr* address, socklen_t* size) const noexcept {
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  return give_name(socket->local.value_or(endpoint{}), address, size);
}

int network::peer_name(int fd, sockaddr* address, socklen_t* size) const noexcept {
  const auto socket = state_->at(fd);
  if (!socket) return -EBADF;
  if (socket->is != socket_state::kind::connected || !socket->remote) return -ENOTCONN;
  return give_name(*socket->remote, address, size);
}

int network::poll_now(int fd, int events) const noexcept {
  state_->of.point();
  const auto socket = state_->at(fd);
  if (!socket) return POLLNVAL;
  const readiness is = state::ready_now(*socket);
  return ((is.readable ? POLLIN : 0) & events) | ((is.writable ? POLLOUT : 0) & events) | (is.hung_up ? POLLHUP : 0);
}

int network::look_up(const std::string& host, std::uint16_t port, int family, std::vector<endpoint>& found,
                     int& error_number) const {
  state_->of.point();
  error_number = 0;
  if (host != "localhost") return EAI_NONAME;
  if (family != AF_INET6) found.emplace_back("127.0.0.1", port);
  if (family != AF_INET) found.emplace_back("::1", port);
  return 0;
}

// --- the poller ------------------------------------------------------------------------------------------------------

sim_poller::~sim_poller() {
  descriptors().orphan();
  for (const auto& each : network_.state_->table) {
    if (!each) continue;
    auto& watches = each->watches;
    watches.erase(std::remove_if(watches.begin(), watches.end(), [&](const watch& one) { return one.by == this; }),
                  watches.end());
  }
}

std::error_code sim_poller::add(int fd, const detail::descriptor& state, interest what) noexcept {
  simulation_.point();
  const auto socket = network_.state_->at(fd);
  if (!socket) return {EBADF, std::system_category()};
  const bool is_known = std::any_of(socket->watches.begin(), socket->watches.end(),
                                    [&](const watch& each) { return each.fd == fd && each.by == this; });
  if (is_known) return {EEXIST, std::system_category()};
  socket->watches.push_back({fd, this, state.token(), what});
  const readiness is = network::state::ready_now(*socket);
  const bool matters = what == interest::readable_once ? is.readable
      : what == interest::writable_once                ? is.writable
                                                       : is.readable || is.writable;
  if (matters) {
    const std::uint64_t token = state.token();
    if (what != interest::edges) socket->watches.pop_back();
    tell(token, is);
  }
  return {};
}

void sim_poller::remove(int fd) noexcept {
  simulation_.point();
  const auto socket = network_.state_->at(fd);
  if (!socket) return;
  auto& watches = socket->watches;
  watches.erase(std::remove_if(watches.begin(), watches.end(),
                               [&](const watch& each) { return each.fd == fd && each.by == this; }),
                watches.end());
}

void sim_poller::tell(std::uint64_t token, readiness what) {
  told_.push_back({token, what});
  simulation_.wake_one(this);
}

void sim_poller::ask(std::optional<duration> timeout, detail::ready_list& ready) noexcept {
  if (told_.empty() && !rung_ && timeout != duration::zero())
    (void)simulation_.wait(this, timeout ? detail::time_after(simulation_.now(), *timeout) : time_point::max(),
                           "its poller");
  rung_ = false;
  deliver(ready);
}

// A batch: not always all of them.
void sim_poller::deliver(detail::ready_list& ready) noexcept {
  if (told_.empty()) return;
  std::size_t count = told_.size();
  if (count > 1) count -= simulation_.choices().below(static_cast<std::uint32_t>(count));
  for (; count != 0 && !told_.empty(); --count) {
    const told next = told_.front();
    told_.pop_front();
    descriptors().deliver(next.token, next.what, ready);
  }
}

void sim_poller::ring() noexcept {
  rung_ = true;
  simulation_.wake_one(this);
}

}  // namespace roving::sim
