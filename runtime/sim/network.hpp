// The network of a simulation: TCP within one process, behind the table of system calls, and the pollers that tell of
// it. Bytes travel as events on the virtual clock, in order within a connection, in pieces and with delays that are
// drawn; buffers are finite, so that writers have to wait.
//
// What the kernel promises is kept, whatever is drawn: a short read means that nothing is left or that an edge is on
// its way; an edge is told for each change; after the end of a descriptor nothing is told for it.
//
// All of it is the simulation's: one thread, never stopped in the middle.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/kernel_poller.hpp"
#include "io/socket_address.hpp"
#include "io/system_calls.hpp"
#include "runtime/sim/simulation.hpp"

namespace roving::sim {

class sim_poller;

class network final : public detail::system_calls {
 public:
  network(simulation& of, const network_faults& faults);
  ~network() override;

  /// How many descriptors are open.
  [[nodiscard]] std::size_t open_descriptors() const noexcept;

  // --- system_calls
  [[nodiscard]] int open_socket(int family, int type, int protocol) const noexcept override;
  [[nodiscard]] int bind(int fd, const sockaddr* address, socklen_t size) const noexcept override;
  [[nodiscard]] int listen(int fd, int backlog) const noexcept override;
  [[nodiscard]] int accept(int fd) const noexcept override;
  [[nodiscard]] int connect(int fd, const sockaddr* address, socklen_t size) const noexcept override;
  [[nodiscard]] std::ptrdiff_t receive(int fd, void* into, std::size_t size_bytes) const noexcept override;
  [[nodiscard]] std::ptrdiff_t receive(int fd, const iovec* into, int count) const noexcept override;
  [[nodiscard]] std::ptrdiff_t send(int fd, const void* from, std::size_t size_bytes) const noexcept override;
  [[nodiscard]] std::ptrdiff_t send(int fd, const iovec* from, int count) const noexcept override;
  [[nodiscard]] int shutdown(int fd, int how) const noexcept override;
  int close(int fd) const noexcept override;
  [[nodiscard]] int duplicate(int fd) const noexcept override;
  [[nodiscard]] int get_option(int fd, int level, int name, void* value, socklen_t* size) const noexcept override;
  [[nodiscard]] int set_option(int fd, int level, int name, const void* value, socklen_t size) const noexcept override;
  [[nodiscard]] int local_name(int fd, sockaddr* address, socklen_t* size) const noexcept override;
  [[nodiscard]] int peer_name(int fd, sockaddr* address, socklen_t* size) const noexcept override;
  [[nodiscard]] int poll_now(int fd, int events) const noexcept override;
  [[nodiscard]] int look_up(const std::string& host, std::uint16_t port, int family, std::vector<endpoint>& found,
                            int& error_number) const override;

 private:
  friend class sim_poller;
  struct state;
  const std::unique_ptr<state> state_;  // the table of calls is const, the network is not
};

/// What a simulated shard sleeps in.
class sim_poller final : public detail::kernel_poller {
 public:
  sim_poller(simulation& of, network& net) : kernel_poller{net}, simulation_{of}, network_{net} {}
  ~sim_poller() override;

  [[nodiscard]] std::error_code add(int fd, const detail::descriptor& state, detail::interest what) noexcept override;
  void remove(int fd) noexcept override;

  /// The network has something to tell.
  void tell(std::uint64_t token, detail::readiness what);

 private:
  void ask(std::optional<duration> timeout, detail::ready_list& ready) noexcept override;
  void ring() noexcept override;
  void deliver(detail::ready_list& ready) noexcept;

  struct told {
    std::uint64_t token;
    detail::readiness what;
  };

  simulation& simulation_;
  network& network_;
  std::deque<told> told_;
  bool rung_ = false;
};

}  // namespace roving::sim
