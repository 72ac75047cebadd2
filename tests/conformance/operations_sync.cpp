// Locks, semaphores, conditions, events, queues and barriers. See operations.hpp.
#include <exception>
#include <type_traits>
#include <utility>

#include "tests/conformance/world.hpp"

namespace conformance {
namespace {

// The primitive's own names differ: a lock is locked, a semaphore is acquired.
void acquire(roving::mutex& of) { of.lock(); }
void acquire(roving::semaphore& of) { of.acquire(); }
void acquire(roving::bounded_semaphore& of) { of.acquire(); }
void acquire(condition& of) { of.lock.lock(); }
bool try_acquire(roving::mutex& of) {
  return !of.would_suspend() && of.try_lock();  // which alone may pass one who was woken
}
bool try_acquire(roving::semaphore& of) { return of.try_acquire(); }
bool try_acquire(roving::bounded_semaphore& of) { return of.try_acquire(); }
bool try_acquire(condition& of) { return try_acquire(of.lock); }
void release(roving::mutex& of) { of.unlock(); }
void release(roving::semaphore& of) { of.release(); }
void release(roving::bounded_semaphore& of) { of.release(); }
void release(condition& of) { of.lock.unlock(); }
bool is_locked(roving::mutex& of) { return of.locked(); }
bool is_locked(roving::semaphore& of) { return of.locked(); }
bool is_locked(roving::bounded_semaphore& of) { return of.locked(); }
bool is_locked(condition& of) { return of.lock.locked(); }

template <class Object>
concept lockable = requires(Object& of) {
  acquire(of);
};
template <class Object>
concept queue_like = requires(Object& of) {
  of.task_done();
};

// Calls f with the lockable (queue) of that name.
template <class Function>
auto with_lockable(world& in, const operation& op, Function f) {
  return std::visit(
      [&f](auto& held) -> std::invoke_result_t<Function, roving::mutex&> {
        if constexpr (lockable<std::remove_cvref_t<decltype(*held)>>)
          return f(*held);
        else
          throw std::invalid_argument{"not a lockable"};
      },
      in.object_of(op.name()));
}

template <class Function>
auto with_queue(world& in, const operation& op, Function f) {
  return std::visit(
      [&f](auto& held) -> std::invoke_result_t<Function, roving::queue<std::int64_t>&> {
        if constexpr (queue_like<std::remove_cvref_t<decltype(*held)>>)
          return f(*held);
        else
          throw std::invalid_argument{"not a queue"};
      },
      in.object_of(op.name()));
}

}  // namespace

// Not a scoped lock: leaving may throw, for who released it inside.
returned do_with(world& in, const operation& op) {
  with_lockable(in, op, [](auto& of) { acquire(of); });
  returned result;
  std::exception_ptr thrown;
  try {
    in.log(op.text, "enter");
    result = in.run_operations(op.inner);
  } catch (...) {
    thrown = std::current_exception();
  }
  with_lockable(in, op, [](auto& of) { release(of); });
  if (thrown) std::rethrow_exception(thrown);
  return result;
}

std::string do_acquire(world& in, const operation& op) {
  with_lockable(in, op, [](auto& of) { acquire(of); });
  return ok;
}

std::string do_try_acquire(world& in, const operation& op) {
  return text_of_flag(with_lockable(in, op, [](auto& of) { return try_acquire(of); }));
}

std::string do_release(world& in, const operation& op) {
  with_lockable(in, op, [](auto& of) { release(of); });
  return ok;
}

std::string do_locked(world& in, const operation& op) {
  return text_of_flag(with_lockable(in, op, [](auto& of) { return is_locked(of); }));
}

std::string do_wait_cond(world& in, const operation& op) {
  in.get<condition>(op.name()).changed.wait();
  return ok;
}

std::string do_notify(world& in, const operation& op) {
  in.get<condition>(op.name()).changed.notify(op.number(1) > 0 ? static_cast<std::size_t>(op.number(1)) : 0);
  return ok;
}

std::string do_notify_all(world& in, const operation& op) {
  in.get<condition>(op.name()).changed.notify_all();
  return ok;
}

std::string do_wait_event(world& in, const operation& op) {
  in.get<roving::event>(op.name()).wait();
  return ok;
}

std::string do_set_event(world& in, const operation& op) {
  in.get<roving::event>(op.name()).set();
  return ok;
}

std::string do_clear_event(world& in, const operation& op) {
  in.get<roving::event>(op.name()).clear();
  return ok;
}

std::string do_is_set(world& in, const operation& op) {
  return text_of_flag(in.get<roving::event>(op.name()).is_set());
}

std::string do_put(world& in, const operation& op) {
  with_queue(in, op, [&](auto& queue) { queue.put(op.number(1)); });
  return ok;
}

std::string do_get(world& in, const operation& op) {
  return std::to_string(with_queue(in, op, [](auto& queue) { return queue.get(); }));
}

std::string do_join(world& in, const operation& op) {
  with_queue(in, op, [](auto& queue) { queue.join(); });
  return ok;
}

std::string do_put_nowait(world& in, const operation& op) {
  if (!with_queue(in, op, [&](auto& queue) { return queue.try_put(op.number(1)); })) throw python_error::queue_full;
  return ok;
}

std::string do_get_nowait(world& in, const operation& op) {
  const std::optional<std::int64_t> item = with_queue(in, op, [](auto& queue) { return queue.try_get(); });
  if (!item) throw python_error::queue_empty;
  return std::to_string(*item);
}

std::string do_task_done(world& in, const operation& op) {
  with_queue(in, op, [](auto& queue) { queue.task_done(); });
  return ok;
}

std::string do_qsize(world& in, const operation& op) {
  return std::to_string(with_queue(in, op, [](auto& queue) { return queue.size(); }));
}

std::string do_shutdown(world& in, const operation& op) {
  with_queue(in, op, [&](auto& queue) { queue.shutdown(op.flag(1)); });
  return ok;
}

std::string do_barrier_wait(world& in, const operation& op) {
  return std::to_string(in.get<roving::barrier>(op.name()).wait());
}

std::string do_barrier_abort(world& in, const operation& op) {
  in.get<roving::barrier>(op.name()).abort();
  return ok;
}

std::string do_barrier_reset(world& in, const operation& op) {
  in.get<roving::barrier>(op.name()).reset();
  return ok;
}

std::string do_n_waiting(world& in, const operation& op) {
  return std::to_string(in.get<roving::barrier>(op.name()).n_waiting());
}

std::string do_broken(world& in, const operation& op) {
  return text_of_flag(in.get<roving::barrier>(op.name()).broken());
}

}  // namespace conformance
