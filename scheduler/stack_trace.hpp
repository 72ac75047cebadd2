// What stands on a stack that does not belong to the caller: a copy of it, and the calls that the copy tells of.
//
// Two steps, so that each is simple where it has to be. The copy is taken of a task that is parked, or by a signal
// handler on the thread that is stuck: a few registers and some KiB, no lock, no allocation. What it means is found out
// afterwards, by whoever asked, from the unwind tables that C++ programs carry (.eh_frame).
//
// Why not frame pointers: programs, and this library, are compiled without them by default, and one function without
// breaks the chain. They are used where a function has no table. Why not libgcc's unwinder or backtrace(): they start
// from the caller's own frame, and trust memory that changes under them; here every read is checked against the copy,
// so that whatever is in it, even a stack in the middle of a switch, ends in a shorter trace and never in a fault.
// (libunwind can do it; that is one more dependency for 300 lines.)
//
// For x86-64 and ELF; elsewhere traces are empty. symbols.hpp gives the addresses their names.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace roving::detail {

/// A copy of a stack, from its innermost frame on, with the registers that belong to it. Large: use one again.
struct stack_copy {
  static constexpr std::size_t at_most_bytes = std::size_t{64} * 1024;  // what lies farther out is cut off

  // As DWARF numbers them for x86-64.
  static constexpr unsigned rbx = 3;
  static constexpr unsigned rbp = 6;
  static constexpr unsigned rsp = 7;
  static constexpr unsigned r12 = 12;
  static constexpr unsigned rip = 16;

  std::array<std::uintptr_t, 17> registers{};
  bool was_interrupted = false;  // rip is where it stands; otherwise where a call returns to
  std::size_t size_bytes = 0;
  std::unique_ptr<std::byte[]> memory = std::make_unique_for_overwrite<std::byte[]>(at_most_bytes);  // from rsp on

  /// Copies what lies between the stack pointer, which is in `registers`, and `end`. Async-signal-safe, and seen by no
  /// sanitizer.
  void copy_memory(std::uintptr_t end) noexcept;
};

/// Where calls are in the program, the innermost first.
using call_addresses = std::vector<std::uintptr_t>;

/// The calls on it. Any thread; takes the loader's lock.
[[nodiscard]] call_addresses calls_on(const stack_copy& copy);

}  // namespace roving::detail
