// Names to addresses, on the blocking pool.
//
// getaddrinfo can't be interrupted and may take long, so who was cancelled does not wait for it, as blocking() would:
// the look-up owns all that it uses, and ends alone.
#include <roving/resolve.hpp>

#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <netdb.h>

#include <roving/detail/job.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>
#include <roving/error.hpp>

#include "io/errors.hpp"
#include "io/poller.hpp"
#include "io/system_calls.hpp"
#include "scheduler/job_pool.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {
namespace {

constexpr const char* resolve_call = "resolve";

class category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "roving.resolve"; }
  [[nodiscard]] std::string message(int condition) const override { return ::gai_strerror(condition); }
};

int family_argument(address_family family) noexcept {
  switch (family) {
    case address_family::ipv4:
      return AF_INET;
    case address_family::ipv6:
      return AF_INET6;
    case address_family::any:
      break;
  }
  return AF_UNSPEC;
}

class look_up final : public detail::job {
 public:
  look_up(const detail::system_calls& calls, std::string_view host, std::uint16_t port, address_family family)
      : job{&run_it, &drop_it}, calls_{calls}, host_{host}, port_{port}, family_{family} {}

  /// Parks until `asked` has an answer.
  static std::vector<endpoint> ask(std::shared_ptr<look_up> asked, detail::job_pool& pool, std::error_code& error) {
    detail::waiter self{resolve_call};
    asked->keeps_itself_ = asked;
    if (!pool.submit(*asked)) {
      asked->keeps_itself_.reset();
      throw runtime_closed{resolve_call};
    }
    detail::wait_end end = detail::wait_end::event;
    asked->lock_.lock();
    if (!asked->has_ended_) {
      asked->waits_ = &self;
      end = park(self, asked->lock_);
      asked->lock_.lock();
      asked->waits_ = nullptr;
    }
    asked->lock_.unlock();
    if (end == detail::wait_end::cancelled) {
      if (pool.withdraw(*asked)) asked->keeps_itself_.reset();
      detail::throw_cancelled();
    }
    if (asked->failure_ != nullptr) std::rethrow_exception(asked->failure_);
    error = asked->error_;
    return std::move(asked->found_);
  }

 private:
  static void run_it(job& base) noexcept {
    auto& self = static_cast<look_up&>(base);
    try {
      self.run_blocking();
    } catch (...) {
      self.failure_ = std::current_exception();
    }
    self.end();
  }

  static void drop_it(job& base, const std::exception_ptr& why) noexcept {
    auto& self = static_cast<look_up&>(base);
    self.failure_ = why;
    self.end();
  }

  void run_blocking() {
    int error_number = 0;
    const int result = calls_.look_up(host_, port_, family_argument(family_), found_, error_number);
    if (result == EAI_SYSTEM)
      error_ = detail::error_of(-error_number);
    else if (result != 0)
      error_ = {result, resolve_category()};
    else if (found_.empty())
      error_ = {EAI_NONAME, resolve_category()};
  }

  void end() noexcept {
    const std::shared_ptr<look_up> last = std::move(keeps_itself_);
    detail::ready_list wakes;
    {
      const std::scoped_lock hold{lock_};
      has_ended_ = true;
      if (waits_ != nullptr) grant(*waits_, wakes);
    }
    make_ready(wakes);
  }

  const detail::system_calls& calls_;
  const std::string host_;
  const std::uint16_t port_;
  const address_family family_;
  std::vector<endpoint> found_;  // this and the next two: of the pool's thread until has_ended_
  std::error_code error_;
  std::exception_ptr failure_;
  std::shared_ptr<look_up> keeps_itself_;  // while the pool has it

  // --- guarded by lock_
  detail::spin_lock lock_;
  detail::waiter* waits_ = nullptr;
  bool has_ended_ = false;
};

}  // namespace

std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, address_family family,
                              std::error_code& error) {
  error.clear();
  if (const auto literal = endpoint::parse(host, port)) {
    if (family == address_family::any || (family == address_family::ipv6) == literal->is_ipv6()) return {*literal};
    error = {EAI_NONAME, resolve_category()};
    return {};
  }
  const detail::system_calls& calls = detail::current_poller(resolve_call).calls();
  detail::job_pool& pool = *detail::this_shard()->owner().blocking_jobs();
  return look_up::ask(std::make_shared<look_up>(calls, host, port, family), pool, error);
}

std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, std::error_code& error) {
  return resolve(host, port, address_family::any, error);
}

std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, address_family family) {
  std::error_code error;
  std::vector<endpoint> found = resolve(host, port, family, error);
  if (error) throw std::system_error{error, std::string{resolve_call} + " \"" + std::string{host} + '"'};
  return found;
}

const std::error_category& resolve_category() noexcept {
  static const category only;  // has no state
  return only;
}

}  // namespace roving
