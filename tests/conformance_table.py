#!/usr/bin/env python3
"""Keeps the tables of docs/conformance.md: what asyncio's semantics are, item by item, and which tests hold them.

    conformance_table.py           writes the tables anew
    conformance_table.py --check   says whether they are as the tests are; exit status 1 if not
    conformance_table.py --self-test

What an item means stands here; which tests it has is read from their names, which begin with its number
(`C45 cancel: ...`), and from the golden cases of tests/conformance/oracle (`c45_*.json`); where a test runs is read
from its body. An item without a test needs a reason (REASONS), and one that must hold across shards ([X]) a test that
runs on 1, 2 and 4 of them.
"""
import collections
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "conformance.md")
BEGIN, END = "<!-- tables: made by tests/conformance_table.py -->", "<!-- end of the tables -->"

# Number, kind (S: the exact order on one shard; X: also across shards), meaning. What comes after "Ours:" is no item of
# asyncio's, or stronger.
ITEMS = """
# The loop, callbacks and timers
1 S  Callbacks that are posted from one place are called in that order, once each.
2 S  What is posted in a generation runs in the next one; I/O is polled once in between: `a`, the reader, `b`, `c`.
3 S  A callback may cancel a later one of its own generation.
4 X  What a callback throws goes to the handler, and the next callback runs.
5 X  A handler that throws is reported too, and the loop goes on.
6 X  A timer fires once, and never early.
7 S  A negative delay comes behind what is ready now.
8 S  Overdue timers fire in the order of their deadlines. Ours: equal deadlines as they were set.
9 X  A cancelled timer never fires and leaves no memory behind, a hundred thousand times.
10 S A timer of 0 fires between two yields.
11 S `stop()` lets the generation end; what is posted meanwhile waits for the next run.
12 S `run` gives the value of main or throws its exception; after `stop()` it says that main has not ended.
13 S A run inside a run is an error, and the outer one goes on.
14 X A post from a plain thread wakes a sleeping shard; each thread's posts keep their order, 100,000 from each of four.
15 S A post to the own shard by way of its number is not called inside the call.
16 X A post after close is an error: no crash, nothing leaked.
17 X What suspends, or needs a shard, says so by name where there is none.
18 X In debug mode a slice that is too long is reported with task, length and spawn site.
# Futures
19   A new one is not done; asking it for its value or exception is an error.
20   It is completed once; a second time is an error, a cancel is false.
21   `cancel()` is true once; the message comes with what is thrown.
22   The same exception object is thrown each time.
23 S Callbacks never run inside `set_value`; they run in the order of registration, once each.
24 S A callback on what is done is posted, not called.
25   Removing callbacks says how many went; adding and removing from a callback is safe.
26 S Waiting for what is done does not yield.
27 S Callbacks and waiters run in the order in which they came, in one generation.
28 S Several waiters resume in the order in which they came, in one generation.
29   An exception that nobody fetched is reported once.
30 X Ours: a future may be awaited from any shard, and from plain threads.
31 X A foreign completion resumes the waiter on its own shard; cancelling it cancels the source; after close: nothing.
# Tasks
32 S `spawn` runs nothing inline; tasks and callbacks take their turns.
33 S `yield` lets every ready task run once.
34 X Value and exception reach everyone who awaits, also again.
35   A sleep of nothing is one generation; what is not a number is refused.
36   A task that awaits itself is told.
37   Names are `Task-N`, each another, and can be set.
38   The current task is right across interleaving, nested awaits and callbacks.
39   `all_tasks` has what is not done, eager tasks that wait included.
40 X The same while ten shards and ten threads spawn and ask: nothing that stays is missed.
41   Context variables: copied at spawn, not seen outside; callbacks have those of their registration; tokens.
42   An eager body that does not suspend is done on return and takes no generation.
43 S An eager body that waits lets its spawner go on.
44   Eager: current task and context are switched and come back; a cancel after the first step lands at the wait.
# Cancellation
45 S `cancel()` is true at once; the task is thrown out of its wait one generation later.
46 S Before the first step the body never runs; the message stays.
47 S It cancels the future that the task awaits.
48 S After the completion and before the wake it is thrown at that wait, unless `uncancel()` reaches 0 first.
49 S A task that cancels itself and returns is cancelled.
50 S Who swallows it and returns a value has that value.
51 S It is an edge: swallowed once, it does not come again.
52 S Two before delivery are thrown once, with the first message, and count two.
53 S `uncancel` stops at 0 and does nothing to what is done.
54 S Of a task that is done it is false.
55 S Who awaits a cancelled task is thrown `cancelled`, and is not being cancelled.
56 S Of an awaiter it is passed on to the task that it awaits; other awaiters get it too.
57 S Its cleanup may suspend; a second one interrupts that; an error takes its place.
58 X It races with each thing that completes a wait, a million times: one outcome, no lost wake, no second one.
# Combinators
59   `gather` has results in argument order.
60   Of nothing it is empty.
61   The same task thrice runs once and gives its result thrice.
62   The first failure is thrown at once, siblings go on, later failures are not reported (handles; see D1 above).
63   The settled form has exceptions in their places.
64   A cancelled child makes it throw `cancelled`; siblings go on.
65   Cancelling it cancels all; the plain form throws with the first that ended so, the settled one when all have.
66   A cancel after it has ended does not reach its children.
67   `wait`: all, first completed, first exception; whatever is done at the wake is among the done.
68   Its timeout throws and cancels nothing.
69   Cancelling it leaves the tasks alone; nothing to wait for is an error.
70   `as_completed`: in the order of completion, each once; its timeout cancels nothing.
71   `shield`: a cancel of the waiter does not reach the task.
72   The task's own end comes through it.
73   A failure after the waiter was cancelled is reported once, unless somebody fetches it.
74   `wait_for` throws only when what it cancelled has cleaned up.
75   With no time at all, what has not started never does; what is done is given.
76   Who swallows the cancel and returns a value gives it.
77   What is thrown during the cancel is thrown.
78   A cancel in the generation of the completion is not lost.
# Timeouts and sleep
79   What comes out of a timeout is `timeout_error`, and no cancel stays.
80 S Of nested ones that pass together only the outer one converts.
81   If the inner one passes, the outer one goes on.
82   A cancel by others stays a cancel.
83   `reschedule`: earlier, later, never; once it has expired an error.
84   With no time it goes on to the first suspension; without one nothing is thrown.
85   Another exception after expiry goes through.
86   In the cleanup of one that has passed; around a group; with a busy loop.
87   A cancelled sleep leaves no timer.
# Task groups
88   Leaving it waits for all children.
89   A child that fails cancels siblings and body; the failures are thrown together, and no cancel stays.
90   What siblings throw in their cleanup is in it.
91   A body that throws cancels the children, and is in it.
92   A child that is cancelled alone does not count.
93   A cancelled parent is thrown `cancelled` when all have ended.
94   Parent cancelled and a child fails: the errors, and the cancel again at the next suspension.
95   Before it is entered, while it is cancelled and after it ends it takes nothing in; the callable is not run.
96   A child may spawn while it is being left.
97   Nested groups; however often the parent is cancelled, no child is left behind.
98   `group.cancel()` ends it silently, once or often; a cancel by others is not swallowed.
# Synchronisation
99 X A mutex is first come, first served.
100 S Nobody passes: unlock and lock in a row go behind those who wait.
101 X A waiter that is cancelled, also in the generation of its grant, leaves it to the next; there is one holder.
102  Unlocking what is not locked is an error.
103  An event wakes all, also when cleared at once; waiting for one that is set does not yield.
104  A condition wants its lock; `notify(n)` in order; `notify_all`.
105  A cancelled waiter has the lock; cancels while it locks again are held back, the last one is thrown.
106  Who was notified and then cancelled passes it on.
107 S A semaphore is first come, first served; nobody passes while a grant is on its way.
108 X A cancelled grant goes to the next; no permit is lost or made.
109  One release too many of a bounded one, and a negative number, are errors.
110  A barrier numbers its parties, fills again, and makes late ones wait while it drains.
111  A cancelled party no longer counts; `reset` and `abort` throw out who waits.
112 X A queue is first in, first out, waits when full, and loses and doubles nothing: a million items, random cancels.
113  `shutdown`, immediate or not; `join`; `task_done` too often.
# Threads and executors
114 X `blocking` gives value and exception, runs off every shard, and sees the context; `submit` does not.
115  A cancel: what is queued never runs. What runs: `submit` ends at once; `blocking` waits for it (D1).
116  `submit` from a plain thread: value, exception, timeout.
117  A cancel of that future reaches the task.
118  Pools that are shut down run what they have, and refuse more; after the deadline what runs is left alone.
# Run and shutdown
119  `run` gives what main returns and throws what it throws; inside a run it is an error.
120  What main leaves behind is cancelled and waited for; what it throws is reported as of the shutdown.
121  The order of the end: tasks, generators, pools, loop; cleanups may still wait.
122  A runtime runs again, with the same context; once closed it says so.
123  SIGINT: once cancels main; twice ends the process; a main that ends by itself was not interrupted.
# I/O
124  Readiness of foreign descriptors.
125  Reading, writing, accepting, connecting.
126  Buffered reads: limits, separators, partial reads at the end.
127  Buffered writes: `drain`, its marks, its errors.
128  Servers: closing, waiting, one connection's error, running out of descriptors.
129  Connecting by name: fallback, merged errors, staggered attempts.
130  Signals as callbacks.
131  Processes.
# Of C++ only
132  A cancel that comes while a destructor suspends during unwinding is delivered afterwards.
133  In `no_cancel` no suspension throws.
134  Exceptions that are being handled are the task's own, also across a migration.
135  Thread-locals, `errno` and `shard_local` are what the documentation says, pinned or roving.
136  A pinned task never changes its thread; the library never keeps its own shard across a switch.
137  A promise that is destroyed unset tells all who wait.
138  A stack overflow is reported with the task's name.
"""

IO = "With the rest of I/O, which is to come."
REASONS = {
    124: "With the rest of I/O. `wait_readable` and `wait_writable` are there (`tests/io/wait_readable_test.cpp`), not "
         "yet held against these rules by number.",
    125: "With the rest of I/O. TCP is there (`tests/io/tcp_test.cpp`), not yet held against these rules by number.",
    126: IO + " Streams are not buffered.",
    127: IO + " Streams are not buffered.",
    128: "With the rest of I/O. `serve` is there (`tests/runtime/serve_test.cpp`), not yet held against these rules by "
         "number.",
    129: "With the rest of I/O. `resolve` and `connect` by name are there (`tests/io/resolve_test.cpp`), without "
         "staggered attempts.",
    130: IO + " SIGINT alone is there: C123.",
    131: IO,
}

Item = collections.namedtuple("Item", "number kind meaning area")
Test = collections.namedtuple("Test", "number name file where across")


def items():
    found, area = [], ""
    for line in ITEMS.strip().split("\n"):
        if line.startswith("#"):
            area = line[2:]
            continue
        match = re.fullmatch(r"(\d+) +([SX]?) *(\S.*)", line)
        found.append(Item(int(match[1]), match[2], match[3], area))
    return found


def where_it_runs(body):
    """What a test's body says of its shards: (words, whether that is 1, 2 and 4 at least)."""
    generated = re.search(r"GENERATE\((\d+u(?:, \d+u)+)\)", body)
    numbers = [int(number) for number in re.findall(r"(\d+)u", generated[1])] if generated else []
    if "places()" in body or "race_everywhere" in body:
        return "1, 2 and 4 shards, pinned and roving", True
    if len(numbers) > 1:
        return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]} shards", {1, 2, 4} <= set(numbers)
    fixed = sorted({int(number) for number in re.findall(r"shards(?: =|{| =)? ?(\d+)", body)})
    if "run_in_order" in body or fixed == [1]:
        return "1 shard", False
    return (f"{fixed[-1]} shards" if fixed else ""), False


def tests_in(file, text):
    for part in re.split(r"^(?=TEST_CASE\()", text, flags=re.MULTILINE)[1:]:
        name = re.match(r'TEST_CASE\(\s*"([^"]*)"', part)[1]
        number = re.match(r"C(\d+) (.*)", name)
        if number:
            yield Test(int(number[1]), number[2], file, *where_it_runs(re.split(r"^}$", part, flags=re.MULTILINE)[0]))


def all_tests():
    found = []
    for folder, _, files in sorted(os.walk(os.path.join(ROOT, "tests"))):
        for file in sorted(files):
            if file.endswith("_test.cpp"):
                path = os.path.join(folder, file)
                with open(path, encoding="utf-8") as source:
                    found += tests_in(os.path.relpath(path, os.path.join(ROOT, "tests")), source.read())
    return found


def golden_cases():
    """How many golden cases each item has."""
    names = os.listdir(os.path.join(ROOT, "tests", "conformance", "oracle", "cases"))
    numbers = [re.match(r"c(\d+)_.*\.json$", name) for name in names]
    return collections.Counter(int(match[1]) for match in numbers if match)


def problems(all_items, tests, golden):
    known = {item.number for item in all_items}
    for test in tests:
        if test.number not in known:
            yield f"{test.file}: C{test.number} {test.name}: there is no such item"
    for item in all_items:
        own = [test for test in tests if test.number == item.number]
        if not own and not golden[item.number] and item.number not in REASONS:
            yield f"C{item.number} has no test and no reason why"
        if own and item.number in REASONS:
            yield f"C{item.number} has a test, and a reason why it has none"
        if item.kind == "X" and not any(test.across for test in own):
            yield f"C{item.number} must hold across shards, and no test of it runs on 1, 2 and 4"


def cell_of_tests(item, tests, golden):
    lines = []
    by_file = collections.OrderedDict()
    for test in tests:
        if test.number == item.number:
            by_file.setdefault(test.file, []).append(test)
    for file, own in by_file.items():
        texts = [test.name + (f" *({test.where})*" if test.where else "") for test in own]
        lines.append(f"`{file}`: " + "; ".join(texts))
    if golden[item.number]:
        lines.append(f"golden cases: {golden[item.number]}")
    if item.number in REASONS:
        lines.append(REASONS[item.number])
    return "<br>".join(lines).replace("|", "\\|")


def tables(all_items, tests, golden):
    lines, area = [], None
    for item in all_items:
        if item.area != area:
            area = item.area
            lines += ["", f"### {area}", "", "| | | what holds | tested by |", "|---|---|---|---|"]
        kind = f"[{item.kind}]" if item.kind else ""
        lines.append(f"| C{item.number} | {kind} | {item.meaning} | {cell_of_tests(item, tests, golden)} |")
    return "\n".join(lines) + "\n"


def with_tables(page, made):
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def self_test():
    text = 'TEST_CASE("C4 post: a", "[x]") {\n  GENERATE(from_range(places()));\n}\n' \
           'TEST_CASE(\n    "C58 cancel: b",\n    "[x]") {\n  const auto n = GENERATE(1u, 2u, 4u);\n}\n' \
           'TEST_CASE("other") {}\nTEST_CASE("C999 no: such item") {\n  run({.shards = 1});\n}\n'
    tests = list(tests_in("x_test.cpp", text))
    assert [(test.number, test.across) for test in tests] == [(4, True), (58, True), (999, False)], tests
    assert tests[2].where == "1 shard" and tests[1].where == "1, 2 and 4 shards"
    own = [Item(4, "X", "m", "A"), Item(5, "X", "m", "A"), Item(6, "", "m", "A")]
    said = list(problems(own, tests, collections.Counter({6: 1})))
    assert len(said) == 4 and "C58" in said[0] and "C999" in said[1] and "C5 has no test" in said[2], said
    assert "C5 must hold across" in said[3], said
    assert list(problems([Item(1, "", "m", "A")], [], collections.Counter())) == ["C1 has no test and no reason why"]
    made = tables(own, tests, collections.Counter({6: 1}))
    assert "| C4 | [X] | m | `x_test.cpp`: post: a *(1, 2 and 4 shards, pinned and roving)* |" in made, made
    assert "| C6 |  | m | golden cases: 1 |" in made
    page = f"a\n{BEGIN}\nold\n{END}\nb\n"
    assert with_tables(page, "new\n") == f"a\n{BEGIN}\nnew\n\n{END}\nb\n"
    assert with_tables(with_tables(page, "new\n"), "new\n") == with_tables(page, "new\n")
    numbers = [item.number for item in items()]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    print("ok")
    return 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    all_items, tests, golden = items(), all_tests(), golden_cases()
    failed = False
    for problem in problems(all_items, tests, golden):
        print(f"conformance_table.py: {problem}", file=sys.stderr)
        failed = True
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    made = with_tables(page, tables(all_items, tests, golden))
    if arguments == ["--check"]:
        if made != page:
            print("docs/conformance.md is out of date: run python3 tests/conformance_table.py", file=sys.stderr)
            failed = True
    else:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(made)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
