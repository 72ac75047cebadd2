"""asyncio on its own loop, or on uvloop's: `micro.py asyncio|uvloop`, then Google Benchmark's options."""

import argparse
import asyncio
import json
import os
import platform
import random
import re
import sys
import threading
import time

if sys.argv[1:2] == ["uvloop"]:
    import uvloop
    PEER, VERSION, new_loop = "uvloop", uvloop.__version__, uvloop.new_event_loop
elif sys.argv[1:2] == ["asyncio"]:
    PEER, VERSION, new_loop = "asyncio", platform.python_version(), asyncio.new_event_loop
else:
    sys.exit("micro.py asyncio|uvloop [OPTION...]")


def run(main):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)


# ---- Operations: each does its own as often as it is told -------------------------------------------------------


async def yield_(count):
    async def half():
        for _ in range(count // 2):
            await asyncio.sleep(0)
    first, second = asyncio.create_task(half()), asyncio.create_task(half())
    await first
    await second


async def nothing():
    pass


async def spawn_and_join(count):
    for _ in range(count):
        await asyncio.create_task(nothing())


async def spawn_1000_then_join(count):
    while count > 0:
        for task in [asyncio.create_task(nothing()) for _ in range(min(count, 1000))]:
            await task
        count -= 1000


async def hop(count):
    async def play(mine, others):
        for _ in range(count // 2):
            await mine.acquire()
            others.release()
    there, back = asyncio.Semaphore(1), asyncio.Semaphore(0)
    first, second = asyncio.create_task(play(there, back)), asyncio.create_task(play(back, there))
    await first
    await second


async def timer_set_cancel(count):
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 3600
    for _ in range(count):
        loop.call_at(deadline, nothing).cancel()


# ---- What measures itself ---------------------------------------------------------------------------------------


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))] if values else 0


def entry(iterations, real_s, cpu_s, /, **counters):
    return {"iterations": iterations, "real_time": real_s / iterations * 1e9, "cpu_time": cpu_s / iterations * 1e9,
            "items_per_second": iterations / cpu_s, **counters}


async def sleepers(count):
    draw = random.Random(1)
    spans = [draw.uniform(0.001, 1) for _ in range(count)]
    late, early, all_are_there = [], 0, False

    async def sleeper(span):
        nonlocal early
        deadline = time.monotonic() + span
        await asyncio.sleep(span)
        lateness = time.monotonic() - deadline
        if lateness < 0:
            early += 1
        elif all_are_there:
            late.append(lateness * 1e6)

    began, used = time.perf_counter(), time.process_time()
    tasks = []
    for span in spans:
        tasks.append(asyncio.create_task(sleeper(span)))
        if len(tasks) % 1000 == 0:
            await asyncio.sleep(0)
    all_are_there = True
    for task in tasks:
        await task
    cpu_s = time.process_time() - used
    return entry(count, time.perf_counter() - began, cpu_s, cpu_s=cpu_s, early=early, p50_late_us=percentile(late, 50),
                 p99_late_us=percentile(late, 99))


def pause():
    until = time.perf_counter_ns() + 20_000
    while time.perf_counter_ns() < until:
        pass


class Side:
    """A loop on a thread that others ring."""

    def __init__(self, on_ring):
        self.loop = new_loop()
        self.on_ring = on_ring
        self.latencies_us = []

    def ring(self):
        self.rung_at = time.perf_counter_ns()
        self.loop.call_soon_threadsafe(self.on_ring)

    def note_arrival(self):
        self.latencies_us.append((time.perf_counter_ns() - self.rung_at) / 1000)

    def run(self, core):
        os.sched_setaffinity(0, {core})
        self.loop.run_forever()
        self.loop.close()


def between_threads(rounds, idle_s):
    """As in bench_sync.cpp; both threads share the interpreter's lock."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return {"error_occurred": True, "error_message": "needs two cores"}
    left = rounds

    def ask():
        if idle_s:
            first.loop.call_later(idle_s, second.ring)
        else:
            second.ring()

    def answered():
        nonlocal left
        if not idle_s:
            first.note_arrival()
            pause()
        left -= 1
        if left:
            return ask()
        second.loop.call_soon_threadsafe(second.loop.stop)
        first.loop.stop()

    def asked():
        second.note_arrival()
        if not idle_s:
            pause()
        first.ring()

    first, second = Side(answered), Side(asked)
    used = time.process_time()
    first.loop.call_soon(ask)
    threads = [threading.Thread(target=side.run, args=(core,)) for side, core in zip((first, second), cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latencies_us = first.latencies_us + second.latencies_us
    found = entry(len(latencies_us), sum(latencies_us) / 1e6, time.process_time() - used,
                  p50_us=percentile(latencies_us, 50), p99_us=percentile(latencies_us, 99))
    found["items_per_second"] = 1e9 / found["real_time"]
    return found


# ---- Measuring --------------------------------------------------------------------------------------------------


def repeat(operation, least_s):
    count = 1000
    while True:
        began, used = time.perf_counter(), time.process_time()
        run(operation(count))
        real_s, cpu_s = time.perf_counter() - began, time.process_time() - used
        if cpu_s >= least_s or real_s >= 5 * least_s:
            return entry(count, real_s, cpu_s)
        count = max(2 * count, min(10 * count, int(1.4 * count * least_s / max(cpu_s, 1e-9))))


REPEATED = {"yield": yield_, "spawn_and_join": spawn_and_join, "spawn_1000_then_join": spawn_1000_then_join, "hop": hop,
            "timer_set_cancel": timer_set_cancel}
ONCE = {"sleepers/tasks:100000": lambda: run(sleepers(100_000)), "hop_asleep": lambda: between_threads(4000, 0),
        "wake": lambda: between_threads(400, 0.0005)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer")
    parser.add_argument("--benchmark_filter", default="")
    parser.add_argument("--benchmark_min_time", default="0.5")
    parser.add_argument("--benchmark_format", choices=["console", "json"], default="console")
    parser.add_argument("--benchmark_out")
    parser.add_argument("--benchmark_out_format", choices=["json"])
    arguments = parser.parse_args()
    least_s = float(arguments.benchmark_min_time.removesuffix("s"))
    found = []
    for name in [*REPEATED, *ONCE]:
        if not re.search(arguments.benchmark_filter, name):
            continue
        measured = repeat(REPEATED[name], least_s) if name in REPEATED else ONCE[name]()
        measured.update(name=name, run_name=name, run_type="iteration", threads=1, time_unit="ns")
        found.append(measured)
        if arguments.benchmark_format == "console":
            print(", ".join(f"{key} {value:.1f}" if isinstance(value, float) else f"{key} {value}"
                            for key, value in measured.items()), flush=True)
    context = {"executable": sys.argv[0], "peer": PEER, "peer_version": VERSION,
               "peer_flags": f"{platform.python_implementation()} {platform.python_version()}"}
    text = json.dumps({"context": context, "benchmarks": found}, indent=1)
    if arguments.benchmark_format == "json":
        print(text)
    if arguments.benchmark_out:
        with open(arguments.benchmark_out, "w", encoding="utf-8") as file:
            file.write(text)


main()
