#!/usr/bin/env python3
"""Runs the lock-free types under Relacy (github.com/dvyukov/relacy), as they are and with weaker memory orders.

    run.py RELACY [--iterations N]     RELACY: where Relacy was cloned to; N random schedules a scenario (100000)

As they are all scenarios must hold; each order that is weakened must be refuted. The headers are copied, since one of
them asserts the size of a lock, which Relacy's atomics don't have. The last line is `N passed, M failed`. Needs g++.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DEQUE = "scheduler/deque.hpp"
INBOX = "scheduler/inbox.hpp"
OVERFLOW = "scheduler/overflow_queue.hpp"
IDLE = "scheduler/idle.hpp"
CLAIM = "scheduler/include/roving/detail/claim_word.hpp"
LOCK = "scheduler/include/roving/detail/spin_lock.hpp"

SIZE_OF_A_LOCK = "static_assert(sizeof(spin_lock) == 1);"

# (file, text, what it becomes, the scenario that refutes it); memory orders without their prefix. The text is in the
# file once.
WEAKER = [
    (DEQUE, "bottom_.store(bottom + 1, seq_cst)", "bottom_.store(bottom + 1, relaxed)", "deque_is_stolen_from"),
    (DEQUE, "bottom_.store(bottom, seq_cst)", "bottom_.store(bottom, release)", "deque_is_stolen_from"),
    (DEQUE, "std::int64_t top = top_.load(seq_cst);                // [last]",
     "std::int64_t top = top_.load(acquire);", "deque_is_stolen_from"),
    (INBOX, "&node, seq_cst, relaxed", "&node, relaxed, relaxed", "inbox_is_drained"),
    (INBOX, "rest = newest_.exchange(nullptr, acquire)", "rest = newest_.exchange(nullptr, relaxed)",
     "inbox_is_drained"),
    (INBOX, "newest_.load(seq_cst)", "newest_.load(acquire)", "inbox_wakes"),
    (IDLE, "flags_[shard].store(flag::asleep, seq_cst)", "flags_[shard].store(flag::asleep, release)", "inbox_wakes"),
    (LOCK, "held_.exchange(true, acquire)", "held_.exchange(true, relaxed)", "spin_lock_guards"),
    (LOCK, "held_.store(false, release)", "held_.store(false, relaxed)", "overflow_queue_keeps_all"),
    (CLAIM, "(seen & ~preparing) | parked, release", "(seen & ~preparing) | parked, relaxed", "claim_has_one_winner"),
    (CLAIM, "ended(seen, who), acq_rel", "ended(seen, who), acquire", "claim_has_one_winner"),
    (CLAIM, "word_.fetch_sub(pin_unit, release)", "word_.fetch_sub(pin_unit, relaxed)", "claim_is_passed_on"),
]


def with_prefix(text):
    for order in ("relaxed", "acquire", "release", "acq_rel", "seq_cst"):
        text = text.replace(f", {order}", f", std::memory_order_{order}").replace(f"({order})",
                                                                               f"(std::memory_order_{order})")
    return text


def holds(relacy, iterations, change, only):
    """Whether all scenarios hold, or the one that is named, after a change to a header; and what was printed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder)
        shutil.copytree(ROOT / "scheduler", tree / "scheduler")
        for file, before, after in [(LOCK, SIZE_OF_A_LOCK, "")] + ([change] if change else []):
            text = (tree / file).read_text(encoding="utf-8")
            if text.count(before) != 1:
                raise RuntimeError(f"{file}: not there once: {before}")
            (tree / file).write_text(text.replace(before, after), encoding="utf-8")
        subprocess.run(["g++", "-std=c++20", "-O0", "-w", "-I", str(relacy), "-I", str(relacy / "relacy" / "fakestd"),
                        "-I", str(tree), "-I", str(tree / "scheduler" / "include"),
                        *([f"-DROVING_ONLY={only}"] if only else []),
                        "-o", str(tree / "scenarios"), str(HERE / "scenarios.cpp")], check=True)
        done = subprocess.run([str(tree / "scenarios"), str(iterations)], capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"ended with {done.returncode}: {done.stderr}")
        return done.returncode == 0, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("relacy", type=pathlib.Path)
    parser.add_argument("--iterations", type=int, default=100000)
    options = parser.parse_args()

    good, said = holds(options.relacy, options.iterations, None, None)
    print(said, end="", flush=True)
    passed, failed = (1, 0) if good else (0, 1)
    for file, before, after, scenario in WEAKER:
        change = (file, with_prefix(before), with_prefix(after))
        good, said = holds(options.relacy, options.iterations, change, scenario)
        passed += not good
        failed += good
        print(f"{file}: {after}: {'SURVIVES' if good else 'refuted'}: {said}", end="", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
