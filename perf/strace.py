"""What strace -c counted."""

import collections
import re


def traced_calls(text):
    """System calls by name, from strace's table."""
    calls = collections.Counter()
    for line in text.splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)\s*$", line)
        if found and found.group(2) != "total":
            calls[found.group(2)] += int(found.group(1))
    return calls
