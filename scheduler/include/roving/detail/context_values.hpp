// What context_vars hold, and how it travels: a task copies its spawner's values, a callback those of who registers it.
//
// A context is a set of values that does not change: copying one is counting one reference, and nothing at all where no
// variable was ever set. Setting a variable makes a new set and puts it in place of the old one, for the task
// (callback, thread) that sets it alone; whoever copied before keeps the old one. So a child's writes are invisible to
// its parent.
//
// Setting costs time in proportion to the number of variables, which are few. Rejected for that: a tree that shares its
// branches, which pays at every read.
//
// Where the current set is: in a task, its own; in a callback, the one captured for it; on a plain thread, the
// thread's.
//
// I1  What two references stand for is not written. Who holds the only one may write.
// I2  A key is counted by its variable and by every set that has a value of it: while a set names a variable, no other
//     variable can have its address.
#pragma once

#include <cstdint>
#include <utility>

#include <roving/detail/atomic.hpp>

namespace roving::detail {

class context_values;  // context_values.cpp has what is in it

#pragma GCC visibility push(default)

/// Something with a count of references to it.
class counted {
 public:
  using destroy_function = void (*)(counted&) noexcept;
  explicit counted(destroy_function how) noexcept : destroy_{how} {}
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;

  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  /// The same where nobody else has a reference yet.
  void add_reference_unshared() noexcept {
    references_.store(references_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  void release() noexcept {
    // What others did comes first. Nobody can add to the only reference but who has it.
    if (!is_shared() || references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy_(*this);
  }
  [[nodiscard]] bool is_shared() const noexcept { return references_.load(std::memory_order_acquire) != 1; }

 protected:
  ~counted() = default;

 private:
  const destroy_function destroy_;
  atomic<std::uint32_t> references_{1};
};

/// One reference to something counted, or none.
template <class Counted>
class counted_reference {
 public:
  counted_reference() noexcept = default;
  /// Takes over a reference that the caller holds.
  explicit counted_reference(Counted* adopted) noexcept : to_{adopted} {}
  static counted_reference share(Counted* of) noexcept {
    if (of != nullptr) of->add_reference();
    return counted_reference{of};
  }
  counted_reference(const counted_reference& other) noexcept : counted_reference{share(other.to_)} {}
  counted_reference(counted_reference&& other) noexcept : to_{std::exchange(other.to_, nullptr)} {}
  counted_reference& operator=(counted_reference other) noexcept {
    std::swap(to_, other.to_);
    return *this;
  }
  ~counted_reference() {
    if (to_ != nullptr) to_->release();
  }

  [[nodiscard]] Counted* get() const noexcept { return to_; }
  [[nodiscard]] Counted* take() noexcept { return std::exchange(to_, nullptr); }
  Counted* operator->() const noexcept { return to_; }
  Counted& operator*() const noexcept { return *to_; }
  explicit operator bool() const noexcept { return to_ != nullptr; }

 private:
  Counted* to_ = nullptr;
};

void add_context_reference(context_values& values) noexcept;
void release_context(context_values& values) noexcept;

/// A reference to a context; an empty one where nothing was set.
class context_reference {
 public:
  context_reference() noexcept = default;
  explicit context_reference(context_values* adopted) noexcept : values_{adopted} {}
  context_reference(const context_reference& other) noexcept : values_{other.values_} {
    if (values_ != nullptr) add_context_reference(*values_);
  }
  context_reference(context_reference&& other) noexcept : values_{std::exchange(other.values_, nullptr)} {}
  context_reference& operator=(context_reference other) noexcept {
    std::swap(values_, other.values_);
    return *this;
  }
  ~context_reference() {
    if (values_ != nullptr) release_context(*values_);
  }

  [[nodiscard]] context_values* get() const noexcept { return values_; }
  [[nodiscard]] context_values* take() noexcept { return std::exchange(values_, nullptr); }

 private:
  context_values* values_ = nullptr;
};

/// What is current where it is called. Any thread.
[[nodiscard]] context_reference capture_context() noexcept;

/// Makes a captured context the current one while it lives; what was set meanwhile goes with it.
///
/// Any thread. In a task it may suspend; it ends in the task that made it.
class context_scope {
 public:
  explicit context_scope(context_reference captured) noexcept;
  /// The same by who knows where the current one is.
  context_scope(context_values*& place, context_reference captured) noexcept
      : place_{&place}, outer_{std::exchange(place, captured.take())} {}
  context_scope(const context_scope&) = delete;
  context_scope& operator=(const context_scope&) = delete;
  ~context_scope();

 private:
  context_values** place_;
  context_values* outer_;
};

// --- for context_var ------------------------------------------------------------------------------------------------

/// Which variable it is: by its address.
struct context_key final : counted {
  context_key() noexcept : counted{[](counted& self) noexcept { delete static_cast<context_key*>(&self); }} {}
};

/// A value of a variable. Not written once it is in a context.
class context_value : public counted {
 protected:
  using counted::counted;
  ~context_value() = default;
};

/// Where a variable was set: a token is good there only.
struct context_place {
  const void* slot = nullptr;
  std::uint64_t activation = 0;
  friend bool operator==(const context_place&, const context_place&) = default;
};
[[nodiscard]] context_place current_context_place() noexcept;

/// Null when it is not set. Lives until the variable is set anew in the same place, or that ends.
[[nodiscard]] const context_value* find_in_context(const context_key& key) noexcept;

/// Sets the variable, or unsets it for null; returns what it was. Throws std::bad_alloc.
counted_reference<context_value> set_in_context(const counted_reference<context_key>& key,
                                                counted_reference<context_value> value);

}  // namespace roving::detail

#pragma GCC visibility pop
