// Runtimes over seams that fail on purpose.
#pragma once

#include <exception>
#include <utility>

#include <roving/roving.hpp>

#include "runtime/runtime_access.hpp"
#include "scheduler/scheduler.hpp"

namespace test {

struct world {
  unsigned shards;
  bool is_roving;
};

inline roving::options quiet(const world& where) {
  roving::options how;
  how.shards = where.shards;
  how.handle_sigint = false;
  how.on_unhandled = [](const roving::unhandled&) {};
  return how;
}

/// A runtime whose seams `change(scheduler_options&)` has replaced.
template <class Change>
roving::runtime make_runtime(const roving::options& how, Change change) {
  roving::detail::scheduler_options made = roving::detail::checked_options(how);
  change(made);
  return roving::detail::runtime_access::make(std::move(made));
}

/// Runs `program()` as the main task, or as a roving one.
template <class Program>
void run_in(roving::runtime& runtime, const world& where, Program program) {
  runtime.run([&] {
    if (where.is_roving)
      roving::spawn(roving::anywhere, [&] { program(); }).get();
    else
      program();
  });
}

inline std::exception_ptr error_of(auto&& call) {
  try {
    call();
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

inline std::string text_of(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
    return "";
  } catch (const roving::exception_group& all) {
    std::string text = "a group of";
    for (const std::exception_ptr& each : all.exceptions()) text += " (" + text_of(each) + ")";
    return text;
  } catch (const std::exception& failed) {
    return failed.what();
  } catch (const roving::cancelled&) {
    return "cancelled";
  } catch (...) {
    return "?";
  }
}

}  // namespace test
