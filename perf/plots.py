#!/usr/bin/env python3
"""Draws what ./dev bench measured: NAME.json becomes NAME*.svg beside it.

    plots.py FILE.json...

Bars of the time for an item, with the spread over rounds; how work of several shards scales; what a request costs a
server; latencies by percentile, and by the load that is offered.
"""

import json
import math
import pathlib
import re
import statistics
import sys

import entries
import svg

SERVER_METRICS = {"cpu_us": "us of CPU time a request"}
PERCENT_TICKS = (50, 90, 99, 99.9, 99.99)


def spread(values):
    return statistics.median(values), min(values), max(values)


def draw_bars(name, found, limits):
    bars = []
    for benchmark, of_one in found.items():
        if "items_per_second" not in of_one[0]:
            continue  # it is about something else than time
        value, low, high = spread([entries.metric_of(entry, "ns") for entry in of_one])
        if value > 0:
            bars.append(svg.Bar(benchmark, value, low, high, benchmark in limits))
    return {name: svg.bars(f"{name}: time for one", "ns", bars)} if bars else {}


def draw_scaling(name, found):
    """Of what was measured with several numbers of threads, by elapsed time where they are more than one."""
    times = {}
    for benchmark, of_one in found.items():
        parts = re.fullmatch(r"(.+)/(?:\w+:)?(\d+)", benchmark)
        if parts and (int(parts[2]) == 1 or "/real_time" in of_one[0]["name"]):
            values = [entries.metric_of(entry, "ns") for entry in of_one]
            times.setdefault(parts[1], {})[int(parts[2])] = values
    series = []
    most = 1
    for benchmark, by_threads in times.items():
        if 1 not in by_threads or len(by_threads) < 2:
            continue
        alone = statistics.median(by_threads[1])
        points = [svg.Point(threads, *spread([alone / value for value in values]))
                  for threads, values in sorted(by_threads.items())]
        series.append((benchmark, points))
        most = max(most, *by_threads)
    if not series:
        return {}
    ticks = [(threads, str(threads)) for threads in sorted({threads for each in times.values() for threads in each})]
    return {f"{name}_scaling": svg.lines(f"{name}: how much faster on more threads", "threads",
                                         "times as fast as on one", series, ideal=[(1, 1), (most, most)],
                                         x_ticks=ticks)}


def draw_servers(name, found):
    drawn = {}
    for metric, unit in SERVER_METRICS.items():
        bars = [svg.Bar(benchmark, *spread([entry[metric] for entry in of_one]), "limit" in benchmark)
                for benchmark, of_one in found.items() if metric in of_one[0]]
        if bars:
            drawn[name] = svg.bars(f"{name}: {unit}", unit, bars)
    return drawn


def far_out(percent):
    """Where a percentile stands: each nine as wide as the one before."""
    return -math.log10(1 - min(percent, 99.9999) / 100)


def draw_percentiles(name, found):
    series = []
    for benchmark, of_one in found.items():
        if "percentiles" not in of_one[0]:
            continue
        points = []
        for i, (percent, _) in enumerate(of_one[0]["percentiles"]):
            values = [entry["percentiles"][i][1] for entry in of_one]
            if all(value > 0 for value in values):
                points.append(svg.Point(far_out(percent), *spread(values)))
        if points:
            series.append((benchmark, points))
    if not series:
        return {}
    return {f"{name}_percentiles": svg.lines(f"{name}: latency by percentile", "percent of requests at most so late",
                                             "us", series, log_y=True,
                                             x_ticks=[(far_out(percent), f"{percent:g}") for percent in PERCENT_TICKS])}


def draw_offered(name, found):
    by_line = {}
    for benchmark, of_one in found.items():
        parts = re.fullmatch(r"(.+)/offered:(\d+)", benchmark)
        for metric in ("p50_us", "p99_us") if parts else ():
            values = [entry[metric] for entry in of_one]
            by_line.setdefault(f"{parts[1]} {metric[:-3]}", []).append(svg.Point(int(parts[2]), *spread(values)))
    if not by_line:
        return {}
    return {name: svg.lines("latency by the load that is offered, 100 connections", "requests a second", "us",
                            [(line, sorted(points)) for line, points in by_line.items()], log_y=True)}


def draw(path):
    """Writes what there is to see in a file; returns the paths."""
    path = pathlib.Path(path)
    whole = json.loads(path.read_text(encoding="utf-8"))
    found = entries.by_name(whole["benchmarks"])
    name = path.stem
    limits = {each["against"] for each in whole.get("comparisons", [])}
    drawn = (draw_offered(name, found) or {**draw_servers(name, found), **draw_percentiles(name, found)} or
             {**draw_bars(name, found, limits), **draw_scaling(name, found)})
    written = []
    for stem, text in drawn.items():
        written.append(path.with_name(f"{stem}.svg"))
        written[-1].write_text(text, encoding="utf-8")
    return written


if __name__ == "__main__":
    for file in sys.argv[1:]:
        for plot in draw(file):
            print(plot)
