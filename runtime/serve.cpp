// serve(): one or several tasks that accept, a task for each connection, and the count of the latter.
//
// All of it lies in the frame of serve(), which returns when the count is back at zero: a connection's task refers to
// it by address and needs no reference count. The count is kept by a ticket in the task's callable and not by the
// task's body, since a task may end without having begun (cancelled before its first turn, no stack to be had).
//
// Rejected: keeping a handle for each connection (a list to sweep, or an allocation for each). What is needed of a
// running handler, its task to cancel it, it writes into a node on its own stack.
//
// I1  count_ is the number of tickets, and loads_ says where they are. Guarded by lock_, as all that is not set at the
//     start.
// I2  A node is in a list while its handler runs: in running_, or in asked_ once it has been cancelled. When
//     cancelling_ is set, no handler begins.
// I3  Nobody touches the server after the lock under which it took the last ticket off is free.
#include <roving/serve.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <roving/detail/make_error.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/detail/wait.hpp>
#include <roving/error.hpp>
#include <roving/no_cancel.hpp>
#include <roving/sleep.hpp>
#include <roving/spawn.hpp>
#include <roving/this_task.hpp>

#include "io/poller.hpp"
#include "scheduler/current.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

constexpr const char* call_name = "serve";
constexpr unsigned accepted_in_a_row = 16;  // then others have a turn: accepting does not suspend while somebody knocks

void report(const char* what, const std::exception_ptr& error) noexcept {
  this_shard()->owner().report_error(what, error, current_task());
}

// The connection waits with the kernel, and may be taken when something was freed.
bool is_want_of_resources(const std::error_code& error) noexcept {
  return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system ||
      error == std::errc::no_buffer_space || error == std::errc::not_enough_memory;
}

bool is_closed(const tcp_listener& listener, const std::error_code& error) noexcept {
  return error == std::errc::operation_canceled || (error == std::errc::bad_file_descriptor && !listener.is_open());
}

bool shares_its_port(const tcp_listener& listener) noexcept {
  int on = 0;
  socklen_t size = sizeof on;
  const system_calls& calls = current_poller(call_name).calls();
  return calls.get_option(listener.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, &size) >= 0 && on != 0;
}

class server {
 public:
  server(tcp_listener& listener, const serve_options& options, connection_handler handler, spawn_site site)
      : listener_{listener},
        options_{options},
        handler_{handler},
        site_{site},
        where_{options.handlers.how() != placement::kind::inherited ? options.handlers
                   : this_task::is_roving()                         ? anywhere
                                                                    : here},
        has_siblings_{options.accept == every_shard && shares_its_port(listener)},
        hands_over_{options.accept == every_shard && !has_siblings_ && where_.how() == placement::kind::here},
        loads_(shard_count()) {}
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  void run() {
    std::exception_ptr reason;
    try {
      if (has_siblings_)
        accept_on_every_shard();
      else
        accept_from(listener_);
    } catch (...) {
      reason = std::current_exception();
    }
    drain(reason);
    if (reason) std::rethrow_exception(reason);
  }

 private:
  // One connection that counts.
  class ticket {
   public:
    ticket(server& of, unsigned shard) noexcept : server_{&of}, shard_{shard} {}
    ticket(ticket&& from) noexcept : server_{std::exchange(from.server_, nullptr)}, shard_{from.shard_} {}
    ticket& operator=(ticket&&) = delete;
    ~ticket() {
      if (server_ != nullptr) server_->give_back(shard_);
    }

    [[nodiscard]] server& of() const noexcept { return *server_; }
    [[nodiscard]] unsigned shard() const noexcept { return shard_; }

   private:
    server* server_;
    unsigned shard_;
  };

  // A connection's task. The stream is closed before the ticket goes.
  struct connection {
    ticket counts;
    tcp_stream stream;

    void operator()() { counts.of().handle(std::move(stream)); }
  };

  struct node {
    task_base* task = nullptr;
    node* next = nullptr;
    node* previous = nullptr;
    bool asked = false;
  };

  class node_list {
   public:
    [[nodiscard]] node* front() const noexcept { return first_; }
    void push(node& item) noexcept {
      item.previous = nullptr;
      item.next = first_;
      if (first_ != nullptr) first_->previous = &item;
      first_ = &item;
    }
    void erase(node& item) noexcept {
      (item.previous != nullptr ? item.previous->next : first_) = item.next;
      if (item.next != nullptr) item.next->previous = item.previous;
    }

   private:
    node* first_ = nullptr;
  };

  // --- accepting

  void accept_from(tcp_listener& listener) {
    for (unsigned in_a_row = 1;; ++in_a_row) {
      await_room();
      std::error_code error;
      tcp_stream accepted = listener.accept(error);
      if (is_closed(listener, error)) return;
      if (!error) error = start(std::move(accepted));
      if (error) {
        if (!is_want_of_resources(error)) throw std::system_error{error, call_name};
        tell_of(error);
        sleep_for(options_.retry_after);
      } else if (in_a_row % accepted_in_a_row == 0) {
        yield();
      }
    }
  }

  void accept_on_every_shard() {
    std::vector<tcp_listener> siblings;
    siblings.reserve(loads_.size());
    while (siblings.size() + 1 < loads_.size()) siblings.push_back(listener_.sibling());

    const unsigned own = this_task::shard();
    std::vector<task<void>> tasks;
    tasks.reserve(loads_.size());
    for (unsigned shard = 0, next = 0; shard < loads_.size(); ++shard) {
      tcp_listener& listener = shard == own ? listener_ : siblings[next++];
      attributes what;
      what.placement = on_shard(shard);
      const auto accept = [this, &listener] { accept_until_the_end(listener); };
      tasks.push_back(spawn(what, accept, site_));
    }
    std::exception_ptr reason;
    try {
      static_cast<void>(await([this] { return accepting_ended_; }, time_point::max()));
    } catch (...) {
      reason = std::current_exception();
    }
    const no_cancel hold_back;
    for (const task<void>& each : tasks) each.cancel();
    for (const task<void>& each : tasks) {
      each.join();
      if (!each.cancelled() && each.exception() && !reason) reason = each.exception();
    }
    if (reason) std::rethrow_exception(reason);
  }

  void accept_until_the_end(tcp_listener& listener) {
    struct ending {
      server& of;
      ~ending() {
        ready_list wakes;
        {
          const std::lock_guard guard{of.lock_};
          of.accepting_ended_ = true;
          of.wake_all(wakes);
        }
        make_ready(wakes);
      }
    } const end{*this};
    accept_from(listener);
  }

  // An error of want, if that is what there was; the connection is closed then.
  std::error_code start(tcp_stream accepted) {
    try {
      ticket counts = take_ticket();
      attributes what;
      what.placement = hands_over_ ? on_shard(counts.shard()) : where_;
      what.stack_size_bytes = options_.stack_size_bytes;
      spawn(what, connection{std::move(counts), std::move(accepted)}, site_).detach();
      return {};
    } catch (const std::bad_alloc&) {
      return std::make_error_code(std::errc::not_enough_memory);
    }
  }

  void tell_of(const std::error_code& error) {
    if (options_.on_accept_error)
      options_.on_accept_error(error);
    else
      report("a connection can't be accepted at the moment", make_error<std::system_error>(error, call_name));
  }

  // --- a connection's task

  void handle(tcp_stream stream) {
    node self;
    self.task = current_task();
    {
      const std::lock_guard guard{lock_};
      if (cancelling_) return;
      running_.push(self);
    }
    struct ending {
      server& of;
      node& self;
      ~ending() {
        const std::lock_guard guard{of.lock_};
        (self.asked ? of.asked_ : of.running_).erase(self);
      }
    } const end{*this, self};
    try {
      handler_.call(handler_.object, std::move(stream));
    } catch (const cancelled&) {
      throw;
    } catch (...) {
      stream.close();  // if the handler did not take it
      tell_of(std::current_exception());
    }
  }

  void tell_of(const std::exception_ptr& error) {
    if (options_.on_error)
      options_.on_error(error);
    else
      report("the handler of a connection threw; the connection was closed", error);
  }

  // --- counting

  [[nodiscard]] bool is_full() const noexcept {
    return options_.max_connections != 0 && count_ >= options_.max_connections;
  }

  // Accepting is left alone while nothing can come of it.
  void await_room() {
    if (options_.max_connections != 0) static_cast<void>(await([this] { return !is_full(); }, time_point::max()));
  }

  // Several who accept may have seen the same room.
  ticket take_ticket() {
    unsigned shard = 0;
    static_cast<void>(await(
        [this, &shard] {
          if (is_full()) return false;
          shard = least_loaded();
          ++count_;
          ++loads_[shard];
          return true;
        },
        time_point::max()));
    return {*this, shard};
  }

  // With lock_ held. Among equals the one after the last choice.
  [[nodiscard]] unsigned least_loaded() noexcept {
    if (!hands_over_) return 0;
    unsigned best = last_choice_;
    for (unsigned step = 1; step <= loads_.size(); ++step) {
      const unsigned shard = static_cast<unsigned>((last_choice_ + step) % loads_.size());
      if (step == 1 || loads_[shard] < loads_[best]) best = shard;
    }
    last_choice_ = best;
    return best;
  }

  void give_back(unsigned shard) noexcept {
    ready_list wakes;
    {
      const std::lock_guard guard{lock_};
      const bool was_full = is_full();
      --count_;
      --loads_[shard];
      if (was_full || count_ == 0) wake_all(wakes);
    }
    make_ready(wakes);  // I3
  }

  // Those who wait: at most one for each shard, and the caller of serve().
  void wake_all(ready_list& wakes) noexcept {
    for (waiter* each = waiters_.front(); each != nullptr; each = each->next) grant(*each, wakes);
  }

  // Waits until `holds()`, called with lock_ held. False when the deadline was first.
  template <class Condition>
  bool await(Condition holds, time_point deadline) {
    std::unique_lock guard{lock_};
    while (!holds()) {
      waiter self{call_name};
      waiters_.push_back(self);
      guard.release();
      const wait_end end = deadline == time_point::max() ? park(self, lock_) : park_until(self, lock_, deadline);
      guard = std::unique_lock{lock_};
      waiters_.erase(self);
      if (end == wait_end::event) continue;
      if (end == wait_end::timeout) return holds();
      guard.unlock();
      throw_cancelled();
    }
    return true;
  }

  // --- ending

  void drain(std::exception_ptr& reason) {
    const auto is_empty = [this] { return count_ == 0; };
    try {
      // Two cancels that come at once are thrown as one, but they are counted.
      const bool hurried = this_task::cancelling() >= cancels_before_ + 2;
      const time_point deadline = options_.grace ? time_after(now(), *options_.grace) : time_point::max();
      if (!hurried && await(is_empty, deadline)) return;
    } catch (...) {  // a second cancel
      reason = std::current_exception();
    }
    cancel_handlers();
    const no_cancel hold_back;
    static_cast<void>(await(is_empty, time_point::max()));
  }

  // A few at a time: they are cancelled with no lock held.
  void cancel_handlers() noexcept {
    for (;;) {
      std::array<future_reference<task_base>, 32> some;
      std::size_t count = 0;
      {
        const std::lock_guard guard{lock_};
        cancelling_ = true;
        while (count < some.size() && running_.front() != nullptr) {
          node& next = *running_.front();
          running_.erase(next);
          next.asked = true;
          asked_.push(next);
          some[count++] = future_reference<task_base>::share(*next.task);
        }
      }
      if (count == 0) return;
      for (std::size_t i = 0; i < count; ++i) some[i]->request_cancel(nullptr);
    }
  }

  tcp_listener& listener_;
  const serve_options& options_;
  const connection_handler handler_;
  const spawn_site site_;
  const placement where_;    // of the handlers
  const bool has_siblings_;  // each shard accepts
  const bool hands_over_;    // one accepts, and hands over to the least loaded
  const std::uint32_t cancels_before_ = this_task::cancelling();

  spin_lock lock_;
  std::size_t count_ = 0;
  std::vector<std::size_t> loads_;
  unsigned last_choice_ = 0;
  bool accepting_ended_ = false;
  bool cancelling_ = false;
  node_list running_;
  node_list asked_;
  wait_list waiters_;
};

}  // namespace

void serve(tcp_listener& listener, const serve_options& options, connection_handler handler, spawn_site site) {
  if (!listener.is_open())
    throw std::system_error{std::make_error_code(std::errc::bad_file_descriptor), "serve: the listener is not open"};
  server{listener, options, handler, site}.run();
}

}  // namespace roving::detail
