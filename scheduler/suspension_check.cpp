// See suspension_check.hpp.
#include "scheduler/suspension_check.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <roving/detail/debug_locks.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>

#include "scheduler/fiber.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/symbols.hpp"
#include "scheduler/this_shard.hpp"

#if defined(__ELF__) && defined(__LP64__)
#  include <link.h>
#endif

namespace roving::detail {
namespace {

void report(scheduler& owner, const task_base& task, const std::string& text) {
  owner.report({"debug mode", std::make_exception_ptr(broken_contract{text}), task.name()});
}

std::string call_of(const task_base& task) {
  const char* const call = task.waits_in.load(std::memory_order_relaxed);
  return call != nullptr ? call : "yield";
}

}  // namespace

void mutex_was_taken(const void* mutex, std::uintptr_t by) noexcept {
  shard* const here = this_shard();
  if (here == nullptr || here->current() == nullptr) return;
  if (suspension_check* const check = here->check()) check->mutex_was_taken(mutex, by);
}

void mutex_is_released(const void* mutex) noexcept {
  shard* const here = this_shard();
  if (here == nullptr) return;
  if (suspension_check* const check = here->check()) check->mutex_is_released(mutex);
}

void suspension_check::mutex_was_taken(const void* mutex, std::uintptr_t by) noexcept {
  if (held_.count < held_.first.size()) held_.first[held_.count++] = {mutex, by};
}

void suspension_check::mutex_is_released(const void* mutex) noexcept {
  for (std::size_t i = held_.count; i-- > 0;) {
    if (held_.first[i].mutex != mutex) continue;
    held_.first[i] = held_.first[--held_.count];
    return;
  }
}

suspension_check::held_mutexes suspension_check::take_held() noexcept { return std::exchange(held_, held_mutexes{}); }

void suspension_check::look(scheduler& owner, const task_base& task, const fiber& on) noexcept {
  try {
    if (held_.count != 0) report_held(owner, task);
    if (task.roving && !variables_.empty()) scan(owner, task, on);
  } catch (...) {  // no memory for the report
  }
}

void suspension_check::report_held(scheduler& owner, const task_base& task) {
  symbol_table names;
  std::string text = "it suspends in " + call_of(task) + " while it holds a pthread mutex";
  const held_mutexes held = take_held();  // first: to report may lock
  for (std::size_t i = 0; i < held.count; ++i)
    text += (i == 0 ? ", locked in " : ", and in ") + names.describe(held.first[i].by);
  report(owner, task, text);
  held_ = {};
}

#if defined(__ELF__) && defined(__LP64__)

void suspension_check::begin_thread(bool scans_thread_locals) {
  variables_.clear();
  if (!scans_thread_locals) return;
  const auto look = [](dl_phdr_info* file, std::size_t size, void* into) -> int {
    if (size < sizeof *file || file->dlpi_tls_data == nullptr) return 0;
    const std::string_view path = file->dlpi_name;
    for (const std::string_view each :
         {"/libc.so", "/libstdc++.so", "/libgcc_s.so", "/libm.so", "/ld-linux", "/libtbb"})
      if (path.find(each) != std::string_view::npos) return 0;
    const auto begin = reinterpret_cast<std::uintptr_t>(file->dlpi_tls_data);
    std::uintptr_t code = 0;
    std::uintptr_t size_bytes = 0;
    for (unsigned i = 0; i < file->dlpi_phnum; ++i) {
      const auto& part = file->dlpi_phdr[i];
      if (part.p_type == PT_LOAD && code == 0) code = file->dlpi_addr + part.p_vaddr;
      if (part.p_type == PT_TLS) size_bytes = part.p_memsz;
    }
    static_cast<std::vector<variables>*>(into)->push_back({begin, begin + size_bytes, code});
    return 0;
  };
  ::dl_iterate_phdr(look, &variables_);
}

#else

void suspension_check::begin_thread(bool) {}

#endif

// The registers that a call keeps are written to this frame first.
[[gnu::noinline]] void suspension_check::scan(scheduler& owner, const task_base& task, const fiber& on) {
  __builtin_unwind_init();
  stack_copy now;
  now.registers[stack_copy::rsp] =
      reinterpret_cast<std::uintptr_t>(&now) / sizeof(std::uintptr_t) * sizeof(std::uintptr_t);
  now.copy_memory(reinterpret_cast<std::uintptr_t>(on.memory.top));
  for (std::size_t at = 0; at + sizeof(std::uintptr_t) <= now.size_bytes; at += sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    std::copy_n(now.memory.get() + at, sizeof word, reinterpret_cast<std::byte*>(&word));
    for (const variables& each : variables_)
      if (word >= each.begin && word < each.end && !is_thread_local_of_ours(word))
        report_address(owner, task, each, word);
  }
}

void suspension_check::report_address(scheduler& owner, const task_base& task, const variables& in,
                                      std::uintptr_t address) {
  const char* const call = task.waits_in.load(std::memory_order_relaxed);
  const bool is_known = std::any_of(reported_.begin(), reported_.end(),
                                    [&](const finding& each) { return each.variable == address && each.call == call; });
  if (is_known) return;
  reported_.push_back({address, call});
  symbol_table names;
  report(owner, task,
         "it suspends in " + call_of(task) + " and may have the address of a thread-local variable, " +
             names.describe_thread_local(in.file, address - in.begin) +
             ": it roves, and where it goes on that may be another thread's");
}

}  // namespace roving::detail
