#!/usr/bin/env python3
"""Runs perf/study, and prints what it found as a table, with the targets; plots and figures go to build/bench/.

    study.py [--tasks N] [--seed N]     what study takes
"""

import json
import pathlib
import subprocess
import sys

import svg
from bench import Report

PROGRAM = "build/release/perf/study"
OUTPUT = pathlib.Path("build/bench")
MOST_OF_IDEAL = 2  # the target under skew


def row(found):
    ratio = found["p99_us"] / found["ideal_p99_us"]
    tries = found["steals_per_task"] + found["missed_per_task"]
    met = ("yes" if ratio <= MOST_OF_IDEAL else "no") if found["load"] == "skewed" else ""
    return (found["load"], str(found["shards"]), f"{found['p50_us']:.2f}", f"{found['ideal_p50_us']:.2f}",
            f"{found['p99_us']:.1f}", f"{found['ideal_p99_us']:.1f}", f"{ratio:.2f}", met, f"{tries:.3f}",
            f"{found['steals_per_task'] / tries:.0%}" if tries else "", f"{found['wakes_per_task']:.3f}",
            f"{found['sleeps_per_task']:.3f}", f"{found['source_p99_us']:.0f}")


def draw(all_found):
    loads = list(dict.fromkeys(found["load"] for found in all_found))
    series = []
    for load in loads:
        of_load = [found for found in all_found if found["load"] == load]
        for who, metric in (("roving", "p99_us"), ("ideal queue", "ideal_p99_us")):
            series.append((f"{load}, {who}", [svg.Point(found["shards"], found[metric]) for found in of_load]))
    shards = sorted({found["shards"] for found in all_found})
    return svg.lines("simulated: 99 % of tasks begin within", "shards", "us after the spawn", series, log_x=True,
                     log_y=True, x_ticks=[(each, str(each)) for each in shards])


def main():
    done = subprocess.run([PROGRAM, *sys.argv[1:]], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        return done.returncode
    all_found = [json.loads(line) for line in done.stdout.splitlines()]
    report = Report()
    report.table(("load", "shards", "p50 us", "ideal", "p99 us", "ideal", "ratio", f"<= {MOST_OF_IDEAL}",
                  "steals tried a task", "got some", "wakes a task", "sleeps a task", "timers' p99 us"),
                 map(row, all_found))
    tasks = sum(found["tasks"] for found in all_found)
    report.say(f"{tasks:,} tasks in {sum(found['virtual_ms'] for found in all_found):.0f} ms of virtual time")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "study.json").write_text(json.dumps(all_found, indent=1), encoding="utf-8")
    (OUTPUT / "study.svg").write_text(draw(all_found), encoding="utf-8")
    report.say(f"Plot: {OUTPUT / 'study.svg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
