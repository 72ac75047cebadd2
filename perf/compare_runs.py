"""Two files of ./dev bench beside each other: what changed, and what is noise."""

import statistics

import entries
import rank_test

CHANCE = 0.01  # of a hundred figures that did not change, one is told to have
LEAST_CHANGE = 0.02  # less than that is nobody's business
FEWEST = 5  # rounds of each, or chance is never that small
LESS_IS_BETTER = {"busy": False, "requests_per_second": False}


def judge(metric, before, after):
    """(ratio of the medians, p, verdict)."""
    old, new = statistics.median(before), statistics.median(after)
    p = rank_test.p_value(before, after)
    ratio = new / old if old else None
    if min(len(before), len(after)) < FEWEST:
        return ratio, p, f"too few: {FEWEST} rounds of each are needed"
    changed = p < CHANCE and (ratio is None or abs(ratio - 1) > LEAST_CHANGE)
    if not changed:
        return ratio, p, ""
    return ratio, p, "better" if (new < old) == LESS_IS_BETTER.get(metric, True) else "WORSE"


def rows_of(before, after):
    """Of all that is in both: (name, metric, old median, new median, ratio, p, verdict)."""
    for name, old in before.items():
        for metric in entries.numbers_of(old[0]) if name in after else ():
            try:
                values = [[entries.metric_of(entry, metric) for entry in each] for each in (old, after[name])]
            except KeyError:
                continue
            yield name, metric, statistics.median(values[0]), statistics.median(values[1]), *judge(metric, *values)


def say(report, paths):
    """Prints a table; returns how many figures are worse."""
    (old_context, before), (new_context, after) = map(entries.read, paths)
    for path, context in zip(paths, (old_context, new_context)):
        report.say(f"{path}: commit {context.get('commit', '?')}, {context.get('compiler', '?')}, "
                   f"{context.get('build', '?')}, {context.get('date', '?')}")
    report.say()
    found = list(rows_of(before, after))
    last = None
    rows = []
    for name, metric, old, new, ratio, p, verdict in found:
        rows.append(("" if name == last else name, metric, entries.short(old), entries.short(new), entries.short(ratio),
                     f"{p:.3f}", verdict))
        last = name
    report.table(("benchmark", "of", "before", "after", "ratio", "p", ""), rows)
    worse = sum(row[-1] == "WORSE" for row in rows)
    better = sum(row[-1] == "better" for row in rows)
    report.say(f"{better} better, {worse} worse, {len(rows) - better - worse} within noise. p: how often chance alone "
               f"has it so far apart (Mann-Whitney U); told from noise below {CHANCE} and from {LEAST_CHANGE:.0%} on.")
    for name in (*[f"only before: {name}" for name in before if name not in after],
                 *[f"only after: {name}" for name in after if name not in before]):
        report.say(name)
    return worse
