// Four fork-join programs, each written once for all who run them: a task per call, without a cut-off.
//
// A `Pool` says what a task is, by one type:
//
//     Pool::template tasks<most> forked;    at most that many
//     forked.run(f);                        f as a task
//     forked.wait();                        all have ended
//
// `serial` makes no tasks: it calls. What it takes is the work itself, and the limit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace roving_perf {

struct serial {
  template <std::size_t most>
  struct tasks {
    template <class Function>
    void run(Function&& f) {
      f();
    }
    void wait() {}
  };
};

// --- skynet

inline constexpr std::int64_t skynet_leaves = 1'000'000;
inline constexpr std::int64_t skynet_tasks = 1'111'111;  // the outermost, which the caller is, among them
inline constexpr std::int64_t skynet_answer = skynet_leaves * (skynet_leaves - 1) / 2;

/// Ten tasks that each make ten, down to a million leaves; each leaf is its number, and the sum goes up.
template <class Pool>
std::int64_t skynet(std::int64_t first = 0, std::int64_t leaves = skynet_leaves) {
  if (leaves == 1) return first;
  std::array<std::int64_t, 10> sums;
  const std::int64_t each = leaves / 10;
  typename Pool::template tasks<10> forked;
  for (std::int64_t& sum : sums) {
    forked.run([&sum, first, each] { sum = skynet<Pool>(first, each); });
    first += each;
  }
  forked.wait();
  std::int64_t whole = 0;
  for (const std::int64_t sum : sums) whole += sum;
  return whole;
}

// --- fib

inline constexpr int fib_of = 30;
inline constexpr std::int64_t fib_tasks = 1'346'268;
inline constexpr std::int64_t fib_answer = 832'040;

/// Each call makes one task and calls one.
template <class Pool>
std::int64_t fib(int n = fib_of) {
  if (n < 2) return n;
  std::int64_t first = 0;
  typename Pool::template tasks<1> forked;
  forked.run([&first, n] { first = fib<Pool>(n - 1); });
  const std::int64_t second = fib<Pool>(n - 2);
  forked.wait();
  return first + second;
}

// --- nqueens

inline constexpr std::size_t queens = 11;
inline constexpr std::int64_t queens_tasks = 166'925;
inline constexpr std::int64_t queens_answer = 2'680;

/// The column of each row's queen.
using board = std::array<std::uint8_t, queens>;

inline bool is_safe(const board& columns, std::size_t row, std::uint8_t column) noexcept {
  for (std::size_t above = 0; above < row; ++above) {
    const int apart = columns[above] - column;
    const int rows = static_cast<int>(row - above);
    if (apart == 0 || apart == rows || apart == -rows) return false;
  }
  return true;
}

/// A task for each safe place of the next row's queen: from none to eleven.
template <class Pool>
std::int64_t nqueens(const board& columns = {}, std::size_t row = 0) {
  if (row == queens) return 1;
  std::array<std::int64_t, queens> found{};
  typename Pool::template tasks<queens> forked;
  for (std::uint8_t column = 0; column < static_cast<std::uint8_t>(queens); ++column) {
    if (!is_safe(columns, row, column)) continue;
    forked.run([&into = found[column], &columns, row, column] {
      board next = columns;
      next[row] = column;
      into = nqueens<Pool>(next, row + 1);
    });
  }
  forked.wait();
  std::int64_t all = 0;
  for (const std::int64_t each : found) all += each;
  return all;
}

// --- matmul

inline constexpr std::size_t matrix_rows = 512;
inline constexpr std::size_t matrix_leaf = 32;
inline constexpr std::int64_t matmul_tasks = 8 + 64 + 512 + 4096;

/// A square part of a matrix of matrix_rows x matrix_rows.
template <class Number>
struct square {
  Number* first;
  std::size_t rows;

  [[nodiscard]] square quarter(std::size_t down, std::size_t right) const noexcept {
    const std::size_t half = rows / 2;
    return {first + down * half * matrix_rows + right * half, half};
  }
};

inline void multiply_leaf(square<double> sum, square<const double> left, square<const double> right) noexcept {
  for (std::size_t i = 0; i < matrix_leaf; ++i) {
    for (std::size_t k = 0; k < matrix_leaf; ++k) {
      const double factor = left.first[i * matrix_rows + k];
      for (std::size_t j = 0; j < matrix_leaf; ++j)
        sum.first[i * matrix_rows + j] += factor * right.first[k * matrix_rows + j];
    }
  }
}

/// sum += left * right, by quarters: four products at a time, each a task, since two of them go to each quarter.
template <class Pool>
void matmul(square<double> sum, square<const double> left, square<const double> right) {
  if (sum.rows == matrix_leaf) return multiply_leaf(sum, left, right);
  for (std::size_t k = 0; k < 2; ++k) {
    typename Pool::template tasks<4> forked;
    for (std::size_t i = 0; i < 2; ++i) {
      for (std::size_t j = 0; j < 2; ++j)
        forked.run([=] { matmul<Pool>(sum.quarter(i, j), left.quarter(i, k), right.quarter(k, j)); });
    }
    forked.wait();
  }
}

}  // namespace roving_perf
