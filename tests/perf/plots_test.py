#!/usr/bin/env python3
"""Tested: perf/svg.py, that what it draws is well formed and in its place; perf/rank_test.py, against tables.

    plots_test.py PERF      PERF: the folder of both
"""

import itertools
import random
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, sys.argv.pop(1))
sys.dont_write_bytecode = True
import rank_test  # noqa: E402
import svg  # noqa: E402

NAMES = {"s": "http://www.w3.org/2000/svg"}


def parsed(text):
    return xml.fromstring(text)


class Bars(unittest.TestCase):
    BARS = [svg.Bar("limit <raw> & \"so\"", 10, 9, 11, True), svg.Bar("ours", 20, 19, 25),
            svg.Bar("theirs", 40, 39, 41)]

    def test_there_is_one_for_each_as_long_as_its_value(self):
        drawn = parsed(svg.bars("times & more", "ns", self.BARS))
        found = drawn.findall(".//s:rect[@class='bar']", NAMES)
        self.assertEqual(len(found), 3)
        widths = [float(each.get("width")) for each in found]
        self.assertAlmostEqual(widths[1] / widths[0], 2, places=1)
        self.assertAlmostEqual(widths[2] / widths[0], 4, places=1)
        self.assertNotEqual(found[0].get("fill"), found[1].get("fill"))
        texts = [each.text for each in drawn.findall(".//s:text", NAMES)]
        for bar in self.BARS:
            self.assertIn(bar.name, texts)

    def test_all_of_it_lies_inside(self):
        drawn = parsed(svg.bars("t", "ns", [*self.BARS, svg.Bar("far", 1e6, 1e3, 2e6)]))
        width, height = float(drawn.get("width")), float(drawn.get("height"))
        for each in drawn.findall(".//s:line", NAMES):
            for x in (each.get("x1"), each.get("x2")):
                self.assertTrue(0 <= float(x) <= width, x)
            for y in (each.get("y1"), each.get("y2")):
                self.assertTrue(0 <= float(y) <= height, y)

    def test_nothing_is_an_error(self):
        with self.assertRaises(ValueError):
            svg.bars("t", "ns", [])


class Lines(unittest.TestCase):
    def draw(self, **options):
        series = [("one", [svg.Point(1, 10, 8, 12), svg.Point(2, 20), svg.Point(4, 30)]),
                  ("two", [svg.Point(1, 15), svg.Point(4, 60)])]
        return parsed(svg.lines("t", "x", "y", series, **options))

    def test_each_point_is_there_and_in_order(self):
        for options in ({}, {"log_x": True}, {"log_x": True, "log_y": True}):
            drawn = self.draw(**options)
            points = drawn.findall(".//s:circle[@class='point']", NAMES)
            self.assertEqual(len(points), 5)
            self.assertEqual(len(drawn.findall(".//s:polyline", NAMES)), 2)
            places = [(float(each.get("cx")), float(each.get("cy"))) for each in points]
            self.assertLess(places[0][0], places[1][0])  # to the right
            self.assertGreater(places[0][1], places[1][1])  # upwards
            self.assertEqual(places[0][0], places[3][0])
            self.assertEqual(points[1].find("s:title", NAMES).text, "one: 20 at 2")

    def test_the_ideal_is_dashed(self):
        drawn = self.draw(ideal=[(1, 1), (4, 4)])
        self.assertEqual(len(drawn.findall(".//s:polyline[@stroke-dasharray]", NAMES)), 1)

    def test_equal_values_are_drawn_too(self):
        for is_log in (False, True):
            parsed(svg.lines("t", "x", "y", [("one", [svg.Point(1, 5)])], log_x=is_log, log_y=is_log))

    def test_ticks_are_round_and_within(self):
        for axis in (svg.Axis(0, 97, 0, 100), svg.Axis(3, 4_000_000, 0, 100, True), svg.Axis(11, 13, 0, 100, True),
                     svg.Axis(0, 1e-7, 0, 100)):
            ticks = axis.ticks()
            self.assertGreaterEqual(len(ticks), 1)
            for tick in ticks:
                self.assertTrue(-0.1 <= axis.at(tick) <= 100.1, (tick, axis.at(tick)))


class RankTest(unittest.TestCase):
    def test_the_statistic_counts_pairs(self):
        self.assertEqual(rank_test.u_statistic([1, 2, 3], [4, 5]), 0)
        self.assertEqual(rank_test.u_statistic([4, 5], [1, 2, 3]), 6)
        self.assertEqual(rank_test.u_statistic([1, 3], [2, 3]), 1.5)

    # Two-sided, from the tables: the largest U with p <= 0.05 is 2 for 5 and 5, 23 for 10 and 10, 13 for 8 and 8.
    def test_critical_values_of_the_tables(self):
        for size, largest in ((5, 2), (8, 13), (10, 23)):
            self.assertLessEqual(self.p_of_u(size, largest), 0.05)
            self.assertGreater(self.p_of_u(size, largest + 1), 0.05)

    @staticmethod
    def p_of_u(size, u):
        """Of two samples without ties, with that U: as many of the second lie below the first's largest."""
        first = [float(i) for i in range(size)]
        second = [100.0 + i for i in range(size)]
        for i in range(size):  # each value of `first` may pass up to `size` of the second, the largest first
            passed = min(u, size)
            first[size - 1 - i] = 100.0 + passed - 0.5 - i * 0.01
            u -= passed
            if u == 0:
                break
        return rank_test.p_value(first, second)

    def test_it_is_what_all_deals_say_ties_too(self):
        chance = random.Random(3)
        for _ in range(40):
            sizes = chance.randint(1, 5), chance.randint(1, 5)
            first = [chance.randint(0, 4) for _ in range(sizes[0])]
            second = [chance.randint(0, 4) for _ in range(sizes[1])]
            every = [*first, *second]
            middle = sizes[0] * sizes[1] / 2
            distance = abs(rank_test.u_statistic(first, second) - middle)
            far = deals = 0
            for chosen in itertools.combinations(range(len(every)), sizes[0]):
                dealt = [every[i] for i in chosen], [every[i] for i in range(len(every)) if i not in chosen]
                deals += 1
                far += abs(rank_test.u_statistic(*dealt) - middle) >= distance - 1e-9
            self.assertAlmostEqual(rank_test.p_value(first, second), far / deals)

    def test_the_same_is_no_difference(self):
        self.assertEqual(rank_test.p_value([1, 1, 1], [1, 1, 1]), 1)
        self.assertEqual(rank_test.p_value([1.0] * 50, [1.0] * 50), 1)

    def test_all_apart_is_the_least_there_is(self):
        self.assertAlmostEqual(rank_test.p_value([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), 2 / 252)

    def test_many_agree_with_few(self):
        chance = random.Random(5)
        first = [chance.gauss(0, 1) for _ in range(30)]
        second = [chance.gauss(0.5, 1) for _ in range(30)]
        ranks = rank_test.doubled_ranks([*first, *second])
        self.assertAlmostEqual(rank_test.exact_p(ranks, 30), rank_test.normal_p(ranks, 30), delta=0.002)


if __name__ == "__main__":
    unittest.main()
