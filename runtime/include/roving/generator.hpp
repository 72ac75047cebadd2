// Sequences whose next value may have to be waited for: asyncio's asynchronous generators, on fibers.
//
//     roving::generator<int> ticks{[](auto& yield_value) {
//       for (int i = 0;; ++i) {
//         roving::sleep_for(1s);
//         yield_value(i);
//       }
//     }};
//     for (int i : ticks)
//       if (i == 10) break;
//
// The body has a stack of its own, so that it can yield from any depth, and is part of the task that asks for a value:
// this_task, name, placement and context_vars are that task's. What waits in the body parks the task, and a cancel of
// the task is thrown there. Between two values the generator may be moved to another task, whose part it is then.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <roving/detail/generator_core.hpp>
#include <roving/error.hpp>
#include <roving/placement.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

template <class Body, class Yielder>
concept called_with = std::is_invocable_v < std::decay_t<Body>
&, Yielder& > ;

}  // namespace detail

/// What can be said of a generator when it is made: `generator<int>{generator_attributes{...}, body}`.
struct generator_attributes {
  std::size_t stack_size_bytes = 0;  // of the body; 0: options.stack_size_bytes
};

/// A sequence of `Value`s, or of references to what the body has (`generator<const row&>`), made one by one as they are
/// asked for.
///
/// Thread safety: one task at a time; another one that asks while the body runs gets concurrent_use, and so does the
///   body itself.
/// Lifetime: as a task's handle it owns its body. Destroying it unwinds a body that has begun and not ended:
///   generator_exit is thrown at its yield, under no_cancel, and what the body does then may suspend. What it throws
///   besides goes to options.on_unhandled; if it yields again instead, the process ends with a message. A body that
///   never began does not run at all. Where nothing can be unwound (in a callback, on a plain thread, in another
///   runtime) a task of the generator's runtime does it later, and that is reported to options.on_unhandled.
///   Generators that outlive the tasks of their runtime are unwound when it closes.
template <class Value>
class [[nodiscard]] generator {
  static_assert(!std::is_void_v<Value> && !std::is_rvalue_reference_v<Value>,
                "a generator yields values or lvalue references");
  static constexpr bool of_references = std::is_reference_v<Value>;

 public:
  using value_type = std::remove_cvref_t<Value>;

  /// What next() gives: a value, or the address of what is referred to; or nothing, at the end.
  using next_type = std::conditional_t<of_references, std::remove_reference_t<Value>*, std::optional<Value>>;

  class yielder;
  class iterator;

  /// Has no body.
  generator() noexcept = default;

  /// Keeps `body`, which is called as `body(yield_value)`, at the first next(), and destroyed when it has ended.
  /// `yield_value(x)` is a generator<Value>::yielder: it gives x to who asked, and returns when the next value is asked
  /// for.
  ///
  /// Suspends: no. Errors: std::invalid_argument (stack size), std::bad_alloc. Thread safety: any thread.
  template <detail::called_with<yielder> Body>
  explicit generator(Body&& body, spawn_site made_at = spawn_site::current())
      : generator{generator_attributes{}, std::forward<Body>(body), made_at} {}
  template <detail::called_with<yielder> Body>
  explicit generator(const generator_attributes& what, Body&& body, spawn_site made_at = spawn_site::current())
      : core_{new running<std::decay_t<Body>>{std::forward<Body>(body), what.stack_size_bytes, made_at}} {}

  generator(generator&& other) noexcept = default;
  generator& operator=(generator&& other) noexcept {
    if (this != &other) {
      const generator former{std::move(*this)};
      core_ = std::move(other.core_);
    }
    return *this;
  }

  /// See above. Suspends: if the body does on its way out.
  ~generator() {
    if (core_) core_.take()->abandon();
  }

  /// Whether it has a body: false when default made or moved from.
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(core_); }

  /// Whether the body has ended, or was closed before it began.
  [[nodiscard]] bool done() const { return core("generator::done").is_done(); }

  /// Runs the body up to its next yield, and gives the value. Nothing when it has returned, now or before.
  ///
  /// Suspends: if the body does. Errors: what the body throws, after which it is done; `cancelled`; concurrent_use;
  /// not_in_task; invalid_state without a body; broken_contract in another runtime than that of the first call;
  /// stack_exhausted.
  [[nodiscard]] next_type next() {
    detail::generator_core& of = core("generator::next");
    if (!of.resume("generator::next")) return {};
    const taken until_moved{of};
    if constexpr (of_references)
      return static_cast<next_type>(of.value());
    else
      return next_type{std::move(*static_cast<Value*>(of.value()))};
  }

  /// For range-for: asks for the next value, as next() does, so that a second loop goes on where the first one was
  /// left. What an iterator gives is the value itself, which may be changed or moved from; it stays until the next one
  /// is asked for.
  [[nodiscard]] iterator begin() {
    iterator first{core("generator::begin")};
    ++first;
    return first;
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// Unwinds the body now: generator_exit is thrown at its yield. It is done then. Nothing if it is already, or has not
  /// begun, which it never will.
  ///
  /// Suspends: if the body does on its way out; a cancel is not held back. Errors: what the body throws on its way out;
  /// broken_contract when it catches generator_exit and yields again, and is where it was then; as next().
  void close() { core("generator::close").close("generator::close"); }

 private:
  // Keeps others out while the value is taken.
  class taken {
   public:
    explicit taken(detail::generator_core& of) noexcept : of_{of} {}
    taken(const taken&) = delete;
    taken& operator=(const taken&) = delete;
    ~taken() { static_cast<void>(of_.settle()); }

   private:
    detail::generator_core& of_;
  };

  template <class Body>
  class running final : public detail::generator_core {
   public:
    template <class Source>
    running(Source&& body, std::size_t stack_size_bytes, spawn_site made_at)
        : generator_core{[](detail::counted& self) noexcept { delete static_cast<running*>(&self); }, &call,
                         stack_size_bytes, made_at},
          body_{std::in_place, std::forward<Source>(body)} {}

   private:
    ~running() = default;

    static void call(detail::generator_core& core) {
      struct ending {  // the callable ends with the call, on the body's own stack
        running& self;
        ~ending() { self.body_.reset(); }
      } end{static_cast<running&>(core)};
      yielder gives{core};
      static_cast<void>((*end.self.body_)(gives));
    }

    std::optional<Body> body_;
  };

  [[nodiscard]] detail::generator_core& core(const char* call) const {
    if (!core_) throw invalid_state{std::string{call} + ": the generator has no body (default made or moved from)"};
    return *core_;
  }

  detail::counted_reference<detail::generator_core> core_;
};

/// Gives values to who asked for them. Good in the body alone, and in what that calls.
template <class Value>
class generator<Value>::yielder {
 public:
  /// Gives `value`, and returns when the next one is asked for.
  ///
  /// Errors: generator_exit when the generator is closed or destroyed instead; broken_contract outside of the body
  /// (another task, another generator's body), and inside with_timeout or with_task_group, whose scope the task would
  /// leave.
  void operator()(Value value) const {
    using pointer = std::remove_reference_t<Value>*;
    const pointer at = std::addressof(value);
    core_.yield(const_cast<std::remove_cv_t<std::remove_reference_t<Value>>*>(at));
  }

 private:
  friend class generator;
  explicit yielder(detail::generator_core& core) noexcept : core_{core} {}
  detail::generator_core& core_;
};

template <class Value>
class generator<Value>::iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using difference_type = std::ptrdiff_t;
  using value_type = generator::value_type;
  using reference = std::remove_reference_t<Value>&;

  [[nodiscard]] reference operator*() const noexcept {
    return *static_cast<std::remove_reference_t<Value>*>(core_->value());
  }
  [[nodiscard]] std::remove_reference_t<Value>* operator->() const noexcept { return std::addressof(**this); }

  /// Asks for the next value. As next().
  iterator& operator++() {
    detail::generator_core& of = *std::exchange(core_, nullptr);
    if (of.resume("generator::iterator") && of.settle()) core_ = &of;
    return *this;
  }
  void operator++(int) { ++*this; }

  [[nodiscard]] friend bool operator==(const iterator& at, std::default_sentinel_t) noexcept {
    return at.core_ == nullptr;
  }

 private:
  friend class generator;
  explicit iterator(detail::generator_core& core) noexcept : core_{&core} {}
  detail::generator_core* core_;
};

}  // namespace roving

#pragma GCC visibility pop
