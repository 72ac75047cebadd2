// Fork and join: programs of up to 1.3 million tasks, each of which does next to nothing. See programs.hpp.
//
// Run by roving and by oneTBB on 1, 2, 4, … threads, up to the cores that are there; names are PROGRAM/WHO/THREADS.
// What they compute is checked each time: a wrong answer ends the process with 1. `peak_mb` is the most memory that the
// process ever had in the benchmark. What one thread does alone is measured by CPU time, all else by elapsed time.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <malloc.h>
#include <sys/resource.h>

#include <roving/roving.hpp>

#include "perf/forkjoin/programs.hpp"
#include "scheduler/cores.hpp"

#if ROVING_WITH_TBB
#  include <oneapi/tbb/task_arena.h>
#  include <oneapi/tbb/task_group.h>
#endif

namespace {

using roving_perf::serial;

// --- who runs them

// Each task is spawned and joined by its handle. It is roving as its parent is; the newest is joined first, since that
// is the one which nobody has taken yet.
struct with_roving {
  static constexpr const char* name = "roving";

  template <std::size_t most>
  class tasks {
   public:
    template <class Function>
    void run(Function f) {
      tasks_[count_++] = roving::spawn(f);
    }
    void wait() {
      while (count_ != 0) tasks_[--count_].get();
    }

   private:
    std::array<roving::task<void>, most> tasks_;
    std::size_t count_ = 0;
  };

  template <class Function>
  static void on_threads(unsigned count, Function f) {
    roving::run({.shards = count}, [&] { roving::spawn(roving::anywhere, f).get(); });
  }
};

#if ROVING_WITH_TBB
struct with_tbb {
  static constexpr const char* name = "tbb";

  template <std::size_t>
  class tasks {
   public:
    template <class Function>
    void run(Function f) {
      group_.run(f);
    }
    void wait() { group_.wait(); }

   private:
    tbb::task_group group_;
  };

  template <class Function>
  static void on_threads(unsigned count, Function f) {
    tbb::task_arena arena{static_cast<int>(count)};
    arena.execute(f);
  }
};
#endif

// --- what they run

void expect(bool right, const char* program) {
  if (right) return;
  std::fprintf(stderr, "bench_forkjoin: %s: the answer is wrong\n", program);
  std::_Exit(1);
}

// Each of these: run<Pool>() once, checked.

struct skynet {
  static constexpr const char* name = "skynet";
  static constexpr std::int64_t tasks = roving_perf::skynet_tasks;
  template <class Pool>
  void run() {
    expect(roving_perf::skynet<Pool>() == roving_perf::skynet_answer, name);
  }
};

struct fib {
  static constexpr const char* name = "fib";
  static constexpr std::int64_t tasks = roving_perf::fib_tasks;
  template <class Pool>
  void run() {
    int n = roving_perf::fib_of;
    benchmark::DoNotOptimize(n);
    expect(roving_perf::fib<Pool>(n) == roving_perf::fib_answer, name);
  }
};

struct nqueens {
  static constexpr const char* name = "nqueens";
  static constexpr std::int64_t tasks = roving_perf::queens_tasks;
  template <class Pool>
  void run() {
    expect(roving_perf::nqueens<Pool>() == roving_perf::queens_answer, name);
  }
};

// Small whole numbers, whose products are exact. Checked by a vector: (left * right) * v = left * (right * v).
class matmul {
 public:
  static constexpr const char* name = "matmul";
  static constexpr std::int64_t tasks = roving_perf::matmul_tasks;

  matmul() {
    for (std::size_t i = 0; i < left_.size(); ++i) {
      left_[i] = static_cast<double>(i * 7 % 13) - 6;
      right_[i] = static_cast<double>(i * 5 % 11) - 5;
    }
    std::vector<double> vector(rows);
    for (std::size_t i = 0; i < rows; ++i) vector[i] = static_cast<double>(i % 3) + 1;
    vector_ = vector;
    expected_ = times(left_, times(right_, vector));
  }

  template <class Pool>
  void run() {
    std::fill(product_.begin(), product_.end(), 0);
    roving_perf::matmul<Pool>({product_.data(), rows}, {left_.data(), rows}, {right_.data(), rows});
    expect(times(product_, vector_) == expected_, name);
  }

 private:
  static constexpr std::size_t rows = roving_perf::matrix_rows;

  static std::vector<double> times(const std::vector<double>& matrix, const std::vector<double>& vector) {
    std::vector<double> product(rows, 0);
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < rows; ++j) product[i] += matrix[i * rows + j] * vector[j];
    return product;
  }

  std::vector<double> left_ = std::vector<double>(rows * rows);
  std::vector<double> right_ = std::vector<double>(rows * rows);
  std::vector<double> product_ = std::vector<double>(rows * rows);
  std::vector<double> vector_;
  std::vector<double> expected_;
};

// --- memory

// The most memory that was resident since it was made; since the process began where the kernel can't forget that.
class peak_memory {
 public:
  peak_memory() {
    ::malloc_trim(0);  // what earlier benchmarks have left behind is none of ours
    std::ofstream{"/proc/self/clear_refs"} << "5\n";
  }

  void report(benchmark::State& state) const { state.counters["peak_mb"] = megabytes(); }

 private:
  static double megabytes() {
    std::ifstream file{"/proc/self/status"};
    for (std::string word; file >> word;) {
      double kilobytes = 0;
      if (word == "VmHWM:" && file >> kilobytes) return kilobytes / 1024;
    }
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    return static_cast<double>(used.ru_maxrss) / 1024;
  }
};

// --- the benchmarks

constexpr double megabytes_at_most = 20;

template <class Program>
void run_serially(benchmark::State& state) {
  Program program;
  const peak_memory peak;
  for (auto _ : state) program.template run<serial>();
  state.SetItemsProcessed(state.iterations() * Program::tasks);
  peak.report(state);
}

template <class Program, class Pool>
void run_with(benchmark::State& state, unsigned threads, const std::string& label) {
  Program program;
  const peak_memory peak;
  Pool::on_threads(threads, [&] {
    program.template run<Pool>();  // stacks and blocks are there then
    for (auto _ : state) program.template run<Pool>();
  });
  state.SetItemsProcessed(state.iterations() * Program::tasks);
  peak.report(state);
  state.SetLabel(label);
}

template <class Program, class Pool>
void add_one(unsigned threads, const std::string& label) {
  const std::string name = std::string{Program::name} + "/" + Pool::name + "/" + std::to_string(threads);
  auto* const made = benchmark::RegisterBenchmark(
      name.c_str(), [threads, label](benchmark::State& state) { run_with<Program, Pool>(state, threads, label); });
  made->Unit(benchmark::kMillisecond);
  if (threads > 1) made->UseRealTime();
}

// Guards: what a task costs that is spawned and joined by its parent, which is what divide and conquer is made of; with
// several shards also how such work spreads, and that it does not hoard memory: depth first, few live stacks.
// Says nothing of: tasks that wait for anything else, I/O beside it.
template <class Program>
void add(double most_of_tbb) {
  const std::string name = Program::name;
  benchmark::RegisterBenchmark((name + "/serial").c_str(), run_serially<Program>)->Unit(benchmark::kMillisecond);
  const auto cores = static_cast<unsigned>(roving::detail::usable_cores().size());
  for (unsigned threads = 1; threads <= cores; threads *= 2) {
    std::ostringstream label;
    label << "ns/" << name << "/serial peak_mb<=" << megabytes_at_most;
#if ROVING_WITH_TBB
    add_one<Program, with_tbb>(threads, "");
    label << " ns<=" << most_of_tbb << "*" << name << "/tbb/" << threads;
#else
    (void)most_of_tbb;
#endif
    const double speed_up = (threads == 2 ? 0.9 : 0.8) * threads;
    if (threads > 1) label << " ns<=" << 1 / speed_up << "*" << name << "/roving/1";
    add_one<Program, with_roving>(threads, label.str());
  }
}

}  // namespace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 1;
  add<skynet>(0.5);
  add<fib>(0.3);
  add<nqueens>(1);
  add<matmul>(1);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
