// The limit of an echo server over io_uring: one thread, one ring, and no more than must be done.
//
// A connection is received from by one multishot request for all its life, whose bytes come in buffers that the kernel
// takes from a ring. Each message is a send and two completions; one io_uring_enter submits the sends of a batch and
// waits for the next. Of what was tried this takes the least CPU time: docs/performance.md has the others.
//
// A connection sends one buffer at a time, what comes meanwhile is chained behind it. Were two sends of one socket
// submitted, the second could overtake a first one that has to wait. MSG_WAITALL: the kernel goes on with a short send.
//
// Buffers are everybody's: without one left a receive ends, and is begun again when one came back. So a client that
// sends and never reads can take them all. perf/load reads.
//
// Sockets are in the ring's own table and have no descriptor. The kernel works for the ring only when this thread
// enters (DEFER_TASKRUN), so that all of the CPU time is this thread's.
//
// `limit_uring_echo [--port N]`, ended by a signal. No options but that. Status 3 where the kernel has no io_uring for
// us, or one older than Linux 6.1; other errors end it with 1.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#if __has_include(<linux/io_uring.h>)
#  include <linux/io_uring.h>
#endif

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "perf/epoll_server.hpp"

constexpr int no_io_uring = 3;

#ifdef IORING_SETUP_DEFER_TASKRUN

namespace {

using roving_perf::or_exit;

template <class... Arguments>
int ring_call(long number, Arguments... arguments) {
  return static_cast<int>(::syscall(number, arguments...));
}

template <class Value>
Value* mapped(std::size_t size_bytes, int fd, off_t offset) {
  const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* const place = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, fd, offset);
  if (place == MAP_FAILED) or_exit(-1, "mmap");
  return static_cast<Value*>(place);
}

class ring {
 public:
  ring() {
    io_uring_params about{};
    about.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
    about.cq_entries = 4 * submissions;
    fd_ = ring_call(SYS_io_uring_setup, submissions, &about);
    if (fd_ < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL)) {
      std::perror("io_uring_setup");
      std::exit(no_io_uring);
    }
    or_exit(fd_, "io_uring_setup");

    const std::size_t size_bytes = std::max(about.sq_off.array + about.sq_entries * sizeof(unsigned),
                                            about.cq_off.cqes + about.cq_entries * sizeof(io_uring_cqe));
    auto* const both = mapped<std::byte>(size_bytes, fd_, IORING_OFF_SQ_RING);
    const auto word = [&](unsigned offset) { return reinterpret_cast<unsigned*>(both + offset); };
    entries_ = mapped<io_uring_sqe>(about.sq_entries * sizeof(io_uring_sqe), fd_, IORING_OFF_SQES);
    submission_tail_ = word(about.sq_off.tail);
    for (unsigned i = 0; i < submissions; ++i) word(about.sq_off.array)[i] = i;
    head_ = word(about.cq_off.head);
    tail_ = word(about.cq_off.tail);
    completion_mask_ = about.cq_entries - 1;
    completions_ = reinterpret_cast<io_uring_cqe*>(both + about.cq_off.cqes);

    io_uring_rsrc_update own{};
    own.offset = ~0U;  // any place
    own.data = static_cast<unsigned>(fd_);
    set_up(IORING_REGISTER_RING_FDS, &own, 1);
    registered_fd_ = own.offset;
  }

  void set_up(unsigned what, void* how, unsigned count) {
    or_exit(ring_call(SYS_io_uring_register, fd_, what, how, count), "io_uring_register");
  }

  /// An empty entry that the next enter submits.
  io_uring_sqe& next(std::uint8_t operation, std::uint64_t about) {
    while (filled_ - submitted_ == submissions) enter(0);
    io_uring_sqe& entry = entries_[filled_++ % submissions];
    entry = {};
    entry.opcode = operation;
    entry.user_data = about;
    return entry;
  }

  void submit_and_wait() { enter(1); }

  /// Calls `answer(completion)` for each that is there.
  template <class Answer>
  void take(Answer answer) {
    const unsigned end = std::atomic_ref{*tail_}.load(std::memory_order_acquire);
    unsigned at = *head_;
    for (; at != end; ++at) answer(completions_[at & completion_mask_]);
    std::atomic_ref{*head_}.store(at, std::memory_order_release);
  }

 private:
  static constexpr unsigned submissions = 1024;

  void enter(unsigned wait_for) {
    std::atomic_ref{*submission_tail_}.store(filled_, std::memory_order_release);
    const unsigned how = IORING_ENTER_REGISTERED_RING | (wait_for > 0 ? IORING_ENTER_GETEVENTS : 0);
    const int taken =
        ring_call(SYS_io_uring_enter, registered_fd_, filled_ - submitted_, wait_for, how, nullptr, std::size_t{0});
    if (taken < 0 && errno != EINTR) or_exit(taken, "io_uring_enter");
    if (taken > 0) submitted_ += static_cast<unsigned>(taken);
  }

  int fd_ = -1;
  unsigned registered_fd_ = 0;
  io_uring_sqe* entries_ = nullptr;
  unsigned* submission_tail_ = nullptr;
  unsigned filled_ = 0;
  unsigned submitted_ = 0;
  io_uring_cqe* completions_ = nullptr;
  unsigned completion_mask_ = 0;
  unsigned* head_ = nullptr;
  unsigned* tail_ = nullptr;
};

// What the kernel receives into.
class buffer_ring {
 public:
  static constexpr unsigned count = 1024;
  // A cache line more than a page, or the beginnings of all would compete for the same places of the cache.
  static constexpr unsigned size_bytes = 4096 + 64;

  explicit buffer_ring(ring& of)
      : bytes_{mapped<char>(std::size_t{count} * size_bytes, -1, 0)},
        offered_{mapped<io_uring_buf>(count * sizeof(io_uring_buf), -1, 0)} {
    io_uring_buf_reg how{};
    how.ring_addr = reinterpret_cast<std::uint64_t>(offered_);
    how.ring_entries = count;
    of.set_up(IORING_REGISTER_PBUF_RING, &how, 1);
    lent_ = count;
    for (unsigned i = 0; i < count; ++i) give_back(i);
  }

  [[nodiscard]] const char* operator[](unsigned number) const { return bytes_ + std::size_t{number} * size_bytes; }

  /// One more was found in a completion.
  void lend() { ++lent_; }
  [[nodiscard]] bool all_are_lent() const { return lent_ == count; }

  void give_back(unsigned number) {
    --lent_;
    io_uring_buf& place = offered_[tail_ % count];
    place.addr = reinterpret_cast<std::uint64_t>((*this)[number]);
    place.len = size_bytes;
    place.bid = static_cast<std::uint16_t>(number);
    ++tail_;
    std::atomic_ref{offered_[0].resv}.store(tail_, std::memory_order_release);  // where the ring's tail lies
  }

 private:
  char* bytes_;
  io_uring_buf* offered_;
  std::uint16_t tail_ = 0;
  unsigned lent_ = 0;  // of which the thread knows
};

class server {
 public:
  explicit server(int listener) : listener_{listener} {
    rlimit most{};
    or_exit(::getrlimit(RLIMIT_NOFILE, &most), "getrlimit");
    io_uring_rsrc_register table{};
    table.nr = static_cast<unsigned>(std::min<rlim_t>(most.rlim_cur, 1U << 14));
    table.flags = IORING_RSRC_REGISTER_SPARSE;
    ring_.set_up(IORING_REGISTER_FILES2, &table, sizeof table);
    connections_.resize(table.nr);
    messages_.resize(buffer_ring::count);
    accept();
  }

  [[noreturn]] void serve() {
    for (;;) {
      ring_.submit_and_wait();
      ring_.take([this](const io_uring_cqe& completion) { answer(completion); });
    }
  }

 private:
  enum class operation : std::uint32_t { accept, receive, send, close };
  static constexpr unsigned none = ~0U;

  struct connection {
    unsigned first = none;  // buffer that is being sent
    unsigned last = none;   // of those behind it
    bool ended = false;     // nothing more will be received
  };
  struct message {  // in the buffer of that number
    unsigned size_bytes = 0;
    unsigned next = none;
  };

  io_uring_sqe& next(std::uint8_t code, operation what, unsigned slot) {
    io_uring_sqe& entry = ring_.next(code, std::uint64_t{static_cast<std::uint32_t>(what)} << 32U | slot);
    entry.fd = static_cast<int>(slot);
    entry.flags = IOSQE_FIXED_FILE;
    return entry;
  }

  void accept() {
    io_uring_sqe& entry = next(IORING_OP_ACCEPT, operation::accept, 0);
    entry.fd = listener_;
    entry.flags = 0;
    entry.ioprio = IORING_ACCEPT_MULTISHOT;
    entry.file_index = IORING_FILE_INDEX_ALLOC;
  }

  void receive(unsigned slot) {
    io_uring_sqe& entry = next(IORING_OP_RECV, operation::receive, slot);
    entry.flags |= IOSQE_BUFFER_SELECT;
    entry.ioprio = IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST;  // rarely is something there already
  }

  void send_first(unsigned slot) {
    const unsigned buffer = connections_[slot].first;
    io_uring_sqe& entry = next(IORING_OP_SEND, operation::send, slot);
    entry.addr = reinterpret_cast<std::uint64_t>(buffers_[buffer]);
    entry.len = messages_[buffer].size_bytes;
    entry.msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
  }

  void answer(const io_uring_cqe& completion) {
    const auto slot = static_cast<unsigned>(completion.user_data);
    switch (static_cast<operation>(completion.user_data >> 32U)) {
      case operation::accept:
        accepted(completion);
        break;
      case operation::receive:
        received(slot, completion);
        break;
      case operation::send:
        sent(slot);
        break;
      case operation::close:
        break;
    }
  }

  void accepted(const io_uring_cqe& completion) {
    fail_with(completion.res, "accept");
    const auto slot = static_cast<unsigned>(completion.res);
    connections_[slot] = {};
    receive(slot);
    if ((completion.flags & IORING_CQE_F_MORE) == 0) accept();
  }

  void received(unsigned slot, const io_uring_cqe& completion) {
    connection& from = connections_[slot];
    if (completion.res == -ENOBUFS) {
      starved_.push_back(slot);
      if (buffers_.all_are_lent()) return;  // or else there may be no send whose end would feed it
      feed();
      return;
    }
    if (completion.res <= 0) {
      from.ended = true;
      close_if_done(slot);
      return;
    }
    const unsigned buffer = completion.flags >> IORING_CQE_BUFFER_SHIFT;
    buffers_.lend();
    messages_[buffer] = {static_cast<unsigned>(completion.res), none};
    if (from.first == none) {
      from.first = from.last = buffer;
      send_first(slot);
    } else {
      messages_[from.last].next = buffer;
      from.last = buffer;
    }
    if ((completion.flags & IORING_CQE_F_MORE) == 0) receive(slot);
  }

  // Or could not be: then the receive ends too.
  void sent(unsigned slot) {
    connection& to = connections_[slot];
    const unsigned buffer = to.first;
    to.first = messages_[buffer].next;
    buffers_.give_back(buffer);
    if (to.first != none) send_first(slot);
    close_if_done(slot);
    feed();
  }

  void feed() {
    for (const unsigned slot : starved_) receive(slot);
    starved_.clear();
  }

  // With nothing under way, so that no completion comes for who has the slot next.
  void close_if_done(unsigned slot) {
    if (!connections_[slot].ended || connections_[slot].first != none) return;
    io_uring_sqe& entry = next(IORING_OP_CLOSE, operation::close, 0);
    entry.fd = 0;
    entry.flags = 0;
    entry.file_index = slot + 1;
  }

  static void fail_with(int result, const char* call) {
    if (result >= 0) return;
    errno = -result;
    or_exit(-1, call);
  }

  ring ring_;
  buffer_ring buffers_{ring_};
  int listener_;
  std::vector<connection> connections_;  // by their place in the ring's table
  std::vector<message> messages_;        // by buffer
  std::vector<unsigned> starved_;        // who waits for a buffer
};

}  // namespace

int main(int count, char** arguments) {
  const int listener = roving_perf::listen_on(roving_perf::port_of(count, arguments), SO_REUSEADDR);
  roving_perf::send_at_once(listener);  // and what it accepts
  server whole{listener};
  roving_perf::say_port(roving_perf::local_port(listener));
  whole.serve();
}

#else

int main() {
  std::fputs("built without <linux/io_uring.h> of Linux 6.1 or later\n", stderr);
  return no_io_uring;
}

#endif
