// Catch2 in either version: 3 splits what 2 has in one header. Tests include this and no header of Catch2.
//
// Assertions throw and their bookkeeping is not thread-safe, so they stay on the test's own thread: tasks write
// down what they saw, and the test checks it after run() has returned.
#pragma once

#if __has_include(<catch2/catch_test_macros.hpp>)
#  include <catch2/catch_approx.hpp>
#  include <catch2/catch_template_test_macros.hpp>
#  include <catch2/catch_test_macros.hpp>
#  include <catch2/generators/catch_generators_all.hpp>
#  include <catch2/matchers/catch_matchers_all.hpp>
#else
#  include <catch2/catch.hpp>
#endif
