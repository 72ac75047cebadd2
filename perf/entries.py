"""What a file in Google Benchmark's format says: its entries by name, and what was measured in each."""

import collections
import json
import re

UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
NOT_COUNTERS = {"name", "family_index", "per_family_instance_index", "run_name", "run_type", "repetitions",
                "repetition_index", "threads", "iterations", "real_time", "cpu_time", "time_unit", "items_per_second",
                "label", "error_occurred", "error_message"}


def short_name(entry):
    """Without what tells how it was measured."""
    return re.sub(r"/(real_time|process_time|manual_time|iterations:\d+|repeats:\d+)(?=/|$)", "", entry["name"])


def metric_of(entry, metric):
    if metric != "ns":
        return entry[metric]
    if "items_per_second" in entry:
        return 1e9 / entry["items_per_second"]
    return entry["real_time"] * UNITS[entry["time_unit"]]


def numbers_of(entry):
    """What can be compared: the time for an item, and all counters."""
    counters = [name for name, value in entry.items()
                if name not in NOT_COUNTERS and isinstance(value, (int, float)) and not isinstance(value, bool)]
    is_server = "cpu_us" in entry or "p50_us" in entry and "items_per_second" not in entry
    return counters if is_server else ["ns", *counters]


def read(path):
    """(context, entries by name); those that failed are left out."""
    with open(path, encoding="utf-8") as file:
        whole = json.load(file)
    return whole.get("context", {}), by_name(whole["benchmarks"])


def by_name(all_entries):
    found = collections.OrderedDict()
    for entry in all_entries:
        if not entry.get("error_occurred") and entry.get("run_type", "iteration") == "iteration":
            found.setdefault(short_name(entry), []).append(entry)
    return found


def short(value):
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"
