"""The Mann-Whitney U test: whether two samples differ more than chance would have them, whatever they are made of.

Exact, by counting in how many ways as large a difference comes out when the same values are dealt anew, ties included;
by the normal approximation where that would take long. Two-sided.
"""

import math

EXACT_UP_TO = 60  # values in all


def doubled_ranks(values):
    """Twice the rank of each, so that the middle ranks of ties are whole."""
    order = sorted(values)
    first, last = {}, {}
    for i, value in enumerate(order, 1):
        first.setdefault(value, i)
        last[value] = i
    return [first[value] + last[value] for value in values]


def u_statistic(first, second):
    """In how many of all pairs `first` has the larger value; a tie counts one half."""
    ranks = doubled_ranks([*first, *second])
    return sum(ranks[:len(first)]) / 2 - len(first) * (len(first) + 1) / 2


def exact_p(ranks, count):
    """Of all ways to choose `count` of `ranks`, the share whose sum is as far from the middle as that of the first."""
    ways = [{} for _ in range(count + 1)]  # by how many were chosen: sum -> in how many ways
    ways[0][0] = 1
    for rank in ranks:
        for chosen in range(count - 1, -1, -1):
            for total, number in ways[chosen].items():
                ways[chosen + 1][total + rank] = ways[chosen + 1].get(total + rank, 0) + number
    middle = count * sum(ranks) / len(ranks)
    distance = abs(sum(ranks[:count]) - middle)
    far = sum(number for total, number in ways[count].items() if abs(total - middle) >= distance - 1e-9)
    return far / math.comb(len(ranks), count)


def normal_p(ranks, count):
    size = len(ranks)
    mean = sum(ranks) / size
    variance = sum((rank - mean) ** 2 for rank in ranks) / (size - 1)  # of what is there, so that ties count
    deviation = math.sqrt(variance * count * (size - count) / size)
    if deviation == 0:
        return 1.0
    distance = max(0.0, abs(sum(ranks[:count]) - count * mean) - 1)  # halfway to the next sum
    return math.erfc(distance / deviation / math.sqrt(2))


def p_value(first, second):
    """How likely such a difference, or a larger one, is by chance alone."""
    if not first or not second:
        raise ValueError("a sample is empty")
    ranks = doubled_ranks([*first, *second])
    count = len(first)
    if count > len(second):
        ranks, count = ranks[count:] + ranks[:count], len(second)
    return exact_p(ranks, count) if len(ranks) <= EXACT_UP_TO else normal_p(ranks, count)
