// Tested: the switch between fibers and threads, alone: no scheduler, fibers are entered by hand. Fibers and threads
// write down what they saw; the test's own thread checks it when it is back on its own stack and the others are joined.

#include "scheduler/context.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cfenv>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "scheduler/sanitizers.hpp"
#include "scheduler/stack.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/caught.hpp"

#if ROVING_ADDRESS_SANITIZER
#  include <sanitizer/asan_interface.h>
#endif

namespace {

using roving::detail::after_switch;
using roving::detail::context;
using roving::detail::current_errno;
using roving::detail::exception_globals_scope;
using roving::detail::stack;
using roving::detail::stack_pool;
using roving::detail::thread_anchor;
using roving::detail::uncaught_exceptions_of;
using roving_test::what_is_caught;
using roving_test::what_rethrows;

constexpr std::size_t stack_bytes = std::size_t{256} * 1024;

// A thread that enters fibers: its own stack and its anchor.
struct host {
  host() noexcept {
    roving::detail::agree_on_floating_point_flags();
    here.adopt_thread();
  }
  thread_anchor anchor = thread_anchor::of_this_thread();
  context here;
};

// A fiber that is entered by resume() and comes back by yield(), possibly on different threads.
class fiber {
 public:
  fiber(stack_pool& pool, std::function<void(fiber&)> body)
      : pool_(pool), stack_(&pool.take(stack_bytes)), body_(std::move(body)) {
    place_.prepare(*stack_, &start, this);
  }
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;
  ~fiber() { pool_.give_back(*stack_); }

  void resume(host& from, after_switch after = nullptr, void* argument = nullptr) {
    back_ = &from;
    const thread_anchor& now = from.here.switch_to(place_, from.anchor, after, argument);
    ROVING_ASSERT(&now == &from.anchor);  // a thread's own stack stays on its thread
  }

  void yield(after_switch after = nullptr, void* argument = nullptr) {
    anchor_ = &place_.switch_to(back_->here, *anchor_, after, argument);
  }

  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] thread_anchor& anchor() { return *anchor_; }
  [[nodiscard]] context& place() { return place_; }
  void now_on(thread_anchor& anchor) { anchor_ = &anchor; }

 private:
  static void start(void* self, thread_anchor& anchor) noexcept {
    fiber& me = *static_cast<fiber*>(self);
    me.anchor_ = &anchor;
    me.body_(me);
    me.place_.leave_for(
        me.back_->here, *me.anchor_, [](void* ending) noexcept { static_cast<fiber*>(ending)->ended_ = true; }, &me);
  }

  stack_pool& pool_;
  stack* stack_;
  std::function<void(fiber&)> body_;
  context place_;
  host* back_ = nullptr;
  thread_anchor* anchor_ = nullptr;
  bool ended_ = false;
};

// Fibers that wait for one of two threads to enter them: one slot per thread.
struct mailbox {
  std::binary_semaphore full{0};
  fiber* next = nullptr;  // null: the thread may end

  void put(fiber* one) {
    next = one;
    full.release();
  }
  fiber* take() {
    full.acquire();
    return std::exchange(next, nullptr);
  }
};

// Sends a fiber to and fro between two threads: each enters it once, alternately, until it ends.
void run_on_two_threads(fiber& one) {
  std::array<mailbox, 2> boxes;
  const auto serve = [&](std::size_t self) {
    host me;
    while (fiber* const entered = boxes[self].take()) {
      entered->resume(me);
      if (entered->ended()) {
        boxes[0].put(nullptr);
        boxes[1].put(nullptr);
      } else {
        boxes[1 - self].put(entered);
      }
    }
  };
  std::thread first{serve, 0U};
  std::thread second{serve, 1U};
  boxes[0].put(&one);
  first.join();
  second.join();
}

TEST_CASE("context: a fiber runs when it is entered and comes back where it was left", "[scheduler][context]") {
  stack_pool pool;
  host me;
  std::string seen;
  {
    fiber one{pool, [&](fiber& self) {
                seen += 'b';
                self.yield();
                seen += 'd';
              }};
    seen += 'a';
    one.resume(me);
    seen += 'c';
    CHECK_FALSE(one.ended());
    one.resume(me);
    seen += 'e';
    CHECK(one.ended());
  }
  CHECK(seen == "abcde");
  CHECK(pool.counters().out == 0);
}

// Five fibers, each of which enters the next one, and the last the thread.
struct ring {
  static constexpr std::size_t size = 5;
  static constexpr int rounds = 3;

  struct member {
    ring* all = nullptr;
    std::size_t index = 0;
    context place;

    context& next() { return index + 1 == size ? all->me.here : all->members[index + 1].place; }

    static void start(void* argument, thread_anchor& first) noexcept {
      member& self = *static_cast<member*>(argument);
      thread_anchor* anchor = &first;
      for (int round = 0; round < rounds; ++round) {
        self.all->seen += static_cast<char>('0' + self.index);
        anchor = &self.place.switch_to(self.next(), *anchor, nullptr, nullptr);
      }
      self.all->seen += 'x';
      self.place.leave_for(self.next(), *anchor, nullptr, nullptr);
    }
  };

  host me;
  std::array<member, size> members;
  std::string seen;
};

TEST_CASE("context: fibers enter one another with no stack in between", "[scheduler][context]") {
  stack_pool pool;
  ring all;
  std::vector<stack*> stacks;
  for (std::size_t i = 0; i < ring::size; ++i) {
    all.members[i].all = &all;
    all.members[i].index = i;
    stacks.push_back(&pool.take(stack_bytes));
    all.members[i].place.prepare(*stacks.back(), &ring::member::start, &all.members[i]);
  }
  for (int round = 0; round <= ring::rounds; ++round) {
    all.me.here.switch_to(all.members[0].place, all.me.anchor, nullptr, nullptr);
    all.seen += ' ';
  }
  for (stack* each : stacks) pool.give_back(*each);
  CHECK(all.seen == "01234 01234 01234 xxxxx ");
}

TEST_CASE("context: what is handed over runs on the side that is entered, before it goes on", "[scheduler][context]") {
  stack_pool pool;
  host me;
  struct record {
    std::string seen;
    const void* where = nullptr;
  } seen;
  const after_switch note = [](void* argument) noexcept {
    auto& into = *static_cast<record*>(argument);
    into.seen += 'a';
    into.where = __builtin_frame_address(0);
  };
  stack& expected = pool.take(stack_bytes);  // the newest is taken first, so the fiber gets the same one
  pool.give_back(expected);
  std::vector<bool> on_fiber;
  const auto look = [&] { on_fiber.push_back(seen.where >= expected.limit && seen.where < expected.top); };
  {
    fiber one{pool, [&](fiber& self) {
                look();
                seen.seen += 'f';
                self.yield(note, &seen);
                look();
                seen.seen += 'f';
              }};
    one.resume(me, note, &seen);
    look();
    seen.seen += 't';
    one.resume(me, note, &seen);
    seen.seen += 't';
  }
  CHECK(seen.seen == "afataft");
  CHECK(on_fiber == std::vector<bool>{true, false, true});
}

[[gnu::noinline]] void write_over_the_stack_below() {
  std::array<volatile char, 1024> over;
  for (volatile char& each : over) each = 1;
}

// What after() may do at worst: let another thread run the leaver to its end, and only then return.
TEST_CASE("context: the leaver can be entered by another thread while after() still runs", "[scheduler][context]") {
  stack_pool pool;
  struct exchange {
    mailbox box;
    std::binary_semaphore done{0};
    fiber* leaving = nullptr;
  } other;
  bool ended = false;
  std::thread::id left_on;
  std::thread::id ended_on;
  {
    fiber one{pool, [&](fiber& self) {
                left_on = std::this_thread::get_id();
                self.yield(
                    [](void* argument) noexcept {
                      auto& to = *static_cast<exchange*>(argument);
                      to.box.put(to.leaving);
                      to.done.acquire();
                    },
                    &other);
                write_over_the_stack_below();  // where the leaver's note was
              }};
    other.leaving = &one;
    std::thread helper{[&] {
      host there;
      fiber* const entered = other.box.take();
      entered->resume(there);
      ended_on = std::this_thread::get_id();
      ended = entered->ended();
      other.done.release();
    }};
    host me;
    one.resume(me);
    helper.join();
  }
  CHECK(ended);
  CHECK(left_on == std::this_thread::get_id());
  CHECK(ended_on != left_on);
}

TEST_CASE("context: after() of the last switch may free the context and give the stack back", "[scheduler][context]") {
  stack_pool pool;
  host me;
  struct alone {
    stack_pool* pool;
    stack* on;
    host* from;
    context place;
    static void start(void* argument, thread_anchor& anchor) noexcept {
      auto* self = static_cast<alone*>(argument);
      self->place.leave_for(
          self->from->here, anchor,
          [](void* ending) noexcept {
            auto* last = static_cast<alone*>(ending);
            last->pool->give_back(*last->on);
            delete last;
          },
          self);
    }
  };
  for (int i = 0; i < 3; ++i) {
    auto* one = new alone{&pool, &pool.take(stack_bytes), &me, {}};
    one->place.prepare(*one->on, &alone::start, one);
    me.here.switch_to(one->place, me.anchor, nullptr, nullptr);
  }
  CHECK(pool.counters().out == 0);
  CHECK(pool.counters().made == 1);
}

TEST_CASE("context: two fibers that are inside catch keep their own exceptions", "[scheduler][context]") {
  stack_pool pool;
  host me;
  std::vector<std::string> seen;
  const auto body = [&](std::string name) {
    return [&, name](fiber& self) {
      try {
        throw std::runtime_error(name);
      } catch (const std::exception&) {
        self.yield();
        seen.push_back(what_is_caught());
        self.yield();
        seen.push_back(what_rethrows());
      }
      seen.push_back(what_is_caught());
    };
  };
  std::string outside;
  {
    fiber a{pool, body("a")};
    fiber b{pool, body("b")};
    try {
      throw std::runtime_error("thread");
    } catch (const std::exception&) {
      for (int i = 0; i < 3; ++i) {
        a.resume(me);
        b.resume(me);
      }
      outside = what_rethrows();
    }
  }
  CHECK(seen == std::vector<std::string>{"a", "b", "a", "nothing", "b", "nothing"});
  CHECK(outside == "thread");
  CHECK(what_is_caught() == "nothing");
}

TEST_CASE("context: a new fiber starts with no exception and errno 0, also when it is entered inside catch",
          "[scheduler][context]") {
  stack_pool pool;
  host me;
  std::string seen;
  int error = -1;
  unsigned uncaught = 1;
  {
    fiber one{pool, [&](fiber& self) {
                seen = what_is_caught();
                error = current_errno();
                uncaught = uncaught_exceptions_of(self.anchor());
              }};
    try {
      throw std::runtime_error("thread");
    } catch (const std::exception&) {
      errno = EPIPE;
      one.resume(me);
    }
  }
  CHECK(seen == "nothing");
  CHECK(error == 0);
  CHECK(uncaught == 0);
}

TEST_CASE("context: a fiber migrates inside catch, and throws there", "[scheduler][context]") {
  constexpr int rounds = 1000;
  stack_pool pool;
  int wrong = 0;
  int moves = 0;
  fiber one{pool, [&](fiber& self) {
              for (int i = 0; i < rounds; ++i) {
                const std::string name = std::to_string(i);
                try {
                  try {
                    throw std::runtime_error(name);
                  } catch (const std::exception&) {
                    const thread_anchor* before = &self.anchor();
                    self.yield();
                    if (before != &self.anchor()) ++moves;
                    if (what_is_caught() != name) ++wrong;
                    try {
                      throw std::logic_error("inner");
                    } catch (const std::exception&) {
                      self.yield();
                      if (what_is_caught() != "inner") ++wrong;
                    }
                    self.yield();
                    throw;
                  }
                } catch (const std::exception& error) {
                  self.yield();
                  if (error.what() != name || what_rethrows() != name) ++wrong;
                }
                if (std::current_exception() != nullptr || std::uncaught_exceptions() != 0) ++wrong;
              }
            }};
  run_on_two_threads(one);
  CHECK(one.ended());
  CHECK(moves == rounds);
  CHECK(wrong == 0);
}

// Leaves its fiber while that unwinds.
struct leaves_when_destroyed {
  fiber& self;
  std::vector<int>& seen;
  ~leaves_when_destroyed() {
    seen.push_back(std::uncaught_exceptions());
    self.yield();
    seen.push_back(std::uncaught_exceptions());
    seen.push_back(static_cast<int>(uncaught_exceptions_of(self.anchor())));
  }
};

TEST_CASE("context: a destructor leaves while its fiber unwinds", "[scheduler][context]") {
  stack_pool pool;
  std::vector<int> seen;
  std::vector<int> of_others;
  std::string caught;
  const auto body = [&](fiber& self) {
    try {
      const leaves_when_destroyed object{self, seen};
      throw std::runtime_error("unwinding");
    } catch (const std::exception& error) {
      caught = error.what();
    }
    seen.push_back(std::uncaught_exceptions());
  };

  SECTION("and others on its thread do not see its exception") {
    host me;
    fiber one{pool, body};
    fiber other{pool, [&](fiber&) { of_others.push_back(std::uncaught_exceptions()); }};
    one.resume(me);
    of_others.push_back(std::uncaught_exceptions());
    other.resume(me);
    one.resume(me);
    of_others.push_back(std::uncaught_exceptions());
    CHECK(one.ended());
    CHECK(of_others == std::vector<int>{0, 0, 0});
  }
  SECTION("and goes on on another thread") {
    fiber one{pool, body};
    run_on_two_threads(one);
    CHECK(one.ended());
  }
  CHECK(seen == std::vector<int>{1, 1, 1, 0});
  CHECK(caught == "unwinding");
}

TEST_CASE("context: errno belongs to the fiber, and after() can't change it", "[scheduler][context]") {
  stack_pool pool;
  host me;
  std::vector<int> in_fiber;
  std::vector<int> in_thread;
  const after_switch spoil = [](void*) noexcept { errno = EIO; };
  {
    fiber one{pool, [&](fiber& self) {
                in_fiber.push_back(current_errno());
                errno = ENOENT;
                self.yield(spoil);
                in_fiber.push_back(current_errno());
              }};
    errno = EPIPE;
    one.resume(me, spoil);
    in_thread.push_back(current_errno());
    errno = EAGAIN;
    one.resume(me, spoil);
    in_thread.push_back(current_errno());
  }
  CHECK(in_fiber == std::vector<int>{0, ENOENT});
  CHECK(in_thread == std::vector<int>{EPIPE, EAGAIN});
}

TEST_CASE("context: errno goes with a fiber that migrates", "[scheduler][context]") {
  stack_pool pool;
  int wrong = 0;
  fiber one{pool, [&](fiber& self) {
              for (int i = 1; i < 100; ++i) {
                *self.anchor().errno_location = i;
                self.yield();
                if (current_errno() != i) ++wrong;
              }
            }};
  run_on_two_threads(one);
  CHECK(wrong == 0);
}

TEST_CASE("context: the rounding mode belongs to the fiber", "[scheduler][context]") {
  stack_pool pool;
  host me;
  std::vector<int> seen;
  {
    fiber one{pool, [&](fiber& self) {
                std::fesetround(FE_UPWARD);
                self.yield();
                seen.push_back(std::fegetround());
              }};
    one.resume(me);
    seen.push_back(std::fegetround());
    one.resume(me);
    seen.push_back(std::fegetround());
  }
  CHECK(seen == std::vector<int>{FE_TONEAREST, FE_UPWARD, FE_TONEAREST});
}

#if defined(__SSE__)
// What makes a switch slow is a difference, so this is the guard of its speed.
TEST_CASE("context: sticky floating-point flags are the same on all sides", "[scheduler][context]") {
  const auto flags = [] { return __builtin_ia32_stmxcsr() & 0x3f; };
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x3f);
  if (flags() != 0x3f) return;  // valgrind has no such flags
  stack_pool pool;
  host me;
  std::vector<unsigned> seen{flags()};
  {
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() & ~0x3fU);  // as a user's code may
    fiber one{pool, [&](fiber& self) {
                seen.push_back(flags());
                self.yield();
                volatile double third = 1.0;
                third = third / 3.0;
                self.yield();
                seen.push_back(flags());
              }};
    one.resume(me);
    seen.push_back(flags());
    roving::detail::agree_on_floating_point_flags();
    one.resume(me);
    seen.push_back(flags());
    one.resume(me);
    seen.push_back(flags());
  }
  CHECK(seen == std::vector<unsigned>{0x3f, 0x3f, 0, 0x3f, 0x3f, 0x3f});
}
#endif

TEST_CASE("exception_globals_scope: an activation inside catch sees no exception but its own", "[scheduler][context]") {
  thread_anchor anchor = thread_anchor::of_this_thread();
  std::vector<std::string> seen;
  try {
    throw std::runtime_error("outer");
  } catch (const std::exception&) {
    exception_globals_scope scope{anchor};
    seen.push_back(what_is_caught());
    try {
      throw std::runtime_error("inner");
    } catch (const std::exception&) {
      seen.push_back(what_is_caught());
    }
    seen.push_back(what_is_caught());
    scope.restore(anchor);
    seen.push_back(what_is_caught());
    seen.push_back(what_rethrows());
  }
  CHECK(seen == std::vector<std::string>{"nothing", "inner", "nothing", "outer", "outer"});
}

TEST_CASE("exception_globals_scope: an activation that migrates gives the globals back on its new thread",
          "[scheduler][context]") {
  stack_pool pool;
  int wrong = 0;
  fiber one{pool, [&](fiber& self) {
              for (int i = 0; i < 100; ++i) {
                try {
                  throw std::runtime_error("outer");
                } catch (const std::exception&) {
                  exception_globals_scope scope{self.anchor()};
                  self.yield();
                  if (what_is_caught() != "nothing") ++wrong;
                  scope.restore(self.anchor());
                  if (what_rethrows() != "outer") ++wrong;
                }
              }
            }};
  run_on_two_threads(one);
  CHECK(wrong == 0);
}

// Leaves for the last time from under some frames, whose redzones and shadow frames must not stay behind.
void end_below(int depth, const std::function<void()>& leave) {
  std::array<volatile char, 64> frame{};
  frame[static_cast<std::size_t>(depth)] = 1;
  if (depth == 0) leave();
  if (depth > 0) end_below(depth - 1, leave);
  frame[0] = 2;
}

TEST_CASE("context: one stack serves many fibers, whatever was on it when they left", "[scheduler][context]") {
  constexpr int fibers = 20'000;
  struct deep {
    host* from;
    context place;
    int ran = 0;
    static void start(void* argument, thread_anchor& anchor) noexcept {
      deep& self = *static_cast<deep*>(argument);
      ++self.ran;
      end_below(8, [&] { self.place.leave_for(self.from->here, anchor, nullptr, nullptr); });
    }
  };
  stack_pool pool;
  host me;
  deep one{&me, {}};
  stack& on = pool.take(stack_bytes);
  for (int i = 0; i < fibers; ++i) {
    one.place.prepare(on, &deep::start, &one);
    me.here.switch_to(one.place, me.anchor, nullptr, nullptr);
  }
  pool.give_back(on);
  CHECK(one.ran == fibers);
}

// Where AddressSanitizer keeps the frames of who calls, if it does: it is asked to see uses of locals after return.
void* fake_stack() noexcept {
#if ROVING_ADDRESS_SANITIZER
  return __asan_get_current_fake_stack();
#else
  return nullptr;
#endif
}

// The first such frame makes the fake stack.
[[gnu::noinline]] void use_a_frame() noexcept {
  std::array<volatile char, 64> frame;
  volatile char* escaping = frame.data();
  asm volatile("" : "+r"(escaping) : : "memory");
  *escaping = 1;
}

TEST_CASE("context: a fiber keeps its fake stack, where sanitizers have one, and a thread its own",
          "[scheduler][context]") {
  stack_pool pool;
  host me;
  std::vector<void*> of_fiber;
  std::vector<void*> of_thread;
  fiber one{pool, [&](fiber& self) {
              for (int i = 0; i < 4; ++i) {
                use_a_frame();
                of_fiber.push_back(fake_stack());
                self.yield();
                of_fiber.push_back(fake_stack());
              }
            }};
  while (!one.ended()) {
    use_a_frame();
    of_thread.push_back(fake_stack());
    one.resume(me);
    of_thread.push_back(fake_stack());
  }
  CHECK(of_fiber == std::vector<void*>(8, of_fiber.front()));
  CHECK(of_thread == std::vector<void*>(10, of_thread.front()));
  CHECK((of_fiber.front() != nullptr) == ROVING_TEST_FAKE_STACKS);
  CHECK((of_fiber.front() != of_thread.front()) == ROVING_TEST_FAKE_STACKS);
}

}  // namespace
