#!/usr/bin/env python3
"""Tested: how perf/gates.py judges a figure, and how it reads what strace prints.

    gates_test.py GATES      GATES: the folder of gates.py
"""

import sys
import unittest

sys.path.insert(0, sys.argv.pop(1))
sys.dont_write_bytecode = True
import gates  # noqa: E402


def figure(value, name="yield.instructions"):
    return gates.Figure(name, "yield", value)


ACCEPTED = {"accepted": 100, "why": "two switches"}


class Judging(unittest.TestCase):
    def test_within_two_percent_is_good(self):
        for value in (98.1, 100, 101.9):
            self.assertEqual(gates.judge(figure(value), ACCEPTED).state, "good", value)

    def test_worse_fails_and_says_what_to_do(self):
        verdict = gates.judge(figure(102.1), ACCEPTED)
        self.assertEqual(verdict.state, "bad")
        for part in ("yield.instructions is 102.1 per yield", "accepted was 100", "two switches",
                     "./dev gates --accept yield.instructions --why"):
            self.assertIn(part, verdict.text)

    def test_better_asks_to_be_accepted(self):
        verdict = gates.judge(figure(97.9), ACCEPTED)
        self.assertEqual(verdict.state, "better")
        self.assertIn("./dev gates --accept yield.instructions --why", verdict.text)

    def test_nothing_has_no_two_percent(self):
        none = {"accepted": 0, "why": "from the slab"}
        self.assertEqual(gates.judge(figure(0.004), none).state, "good")
        self.assertEqual(gates.judge(figure(0.01), none).state, "bad")

    def test_a_rule_is_a_limit(self):
        rule = {"at_most": 1, "why": "one write ends a sleep"}
        self.assertEqual(gates.judge(figure(0.3), rule).state, "good")
        self.assertEqual(gates.judge(figure(1.0), rule).state, "good")
        verdict = gates.judge(figure(1.1), rule)
        self.assertEqual(verdict.state, "bad")
        self.assertIn("one write ends a sleep", verdict.text)

    def test_a_figure_that_nobody_accepted_fails(self):
        self.assertEqual(gates.judge(figure(1), None).state, "bad")

    def test_another_compiler_is_judged_by_what_it_does_not_change(self):
        self.assertEqual(gates.judge(figure(200), ACCEPTED, same_compiler=False).state, "unjudged")
        self.assertEqual(gates.judge(figure(200, "yield.calls"), ACCEPTED, same_compiler=False).state, "bad")


class Names(unittest.TestCase):
    def test_operations_figures_and_patterns(self):
        self.assertTrue(gates.is_wanted("yield.calls", []))
        self.assertTrue(gates.is_wanted("yield.calls", ["yield"]))
        self.assertTrue(gates.is_wanted("yield.calls", ["*.calls"]))
        self.assertFalse(gates.is_wanted("yield_roving.calls", ["yield"]))


TABLE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.58    0.008154           4      2000           sendto
 38.02    0.005034           2      2010        10 recvfrom
  0.40    0.000052          52         1           write
------ ----------- ----------- --------- --------- ----------------
100.00    0.013240           3      4011        10 total
"""

LOG = """7 100.000 readv(-1, NULL, 0) = -1 EBADF (Bad file descriptor)
7 100.001 epoll_pwait2(3,  <unfinished ...>
8 100.150 epoll_pwait2(5, [], 256, NULL, NULL, 0) = 0
8 100.600 epoll_pwait2(5, [], 256, NULL, NULL, 0) = 0
7 101.219 <... epoll_pwait2 resumed>[], 256, NULL, NULL, 0) = 0
7 101.220 readv(-1, NULL, 0) = -1 EBADF (Bad file descriptor)
"""


class Strace(unittest.TestCase):
    def test_its_table(self):
        self.assertEqual(gates.traced_calls(TABLE), {"sendto": 2000, "recvfrom": 2010, "write": 1})

    def test_calls_of_an_idle_runtime(self):
        self.assertEqual([line.split()[1] for line in gates.calls_between_marks(LOG)], ["100.600"])

    def test_a_log_without_marks_is_no_good(self):
        with self.assertRaises(SystemExit):
            gates.calls_between_marks(LOG.replace("readv(-1", "readv(1"))


if __name__ == "__main__":
    unittest.main()
