"""Plots as SVG, by hand: bars with their spread, and lines over linear or logarithmic axes. Nothing else is needed.

A plot has a white ground and colours that can be told apart on it; each point says its value when it is pointed at.
"""

import collections
import math
from xml.sax.saxutils import escape, quoteattr

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#0a7ea4", "#bf3989", "#57606a")
LIMIT_COLOUR = "#8c959f"

Bar = collections.namedtuple("Bar", "name value low high is_limit", defaults=(False,))
Point = collections.namedtuple("Point", "x y low high", defaults=(None, None))


def number(value):
    """As short as it is told from its neighbours."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 10_000:
        return f"{value / 1000:.3g}k"
    if abs(value) >= 0.001:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.1e}"


class Axis:
    """From values to places between `begin` and `end`."""

    def __init__(self, low, high, begin, end, is_log=False):
        if is_log:
            low, high = max(low, 1e-12), max(high, 1e-12)
            if high / low < 1.2:
                low, high = low / 1.2, high * 1.2
        elif high <= low:
            high = low + 1
        self.low, self.high, self.begin, self.end, self.is_log = low, high, begin, end, is_log

    def at(self, value):
        if self.is_log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self):
        if self.is_log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1, 2, 5) if self.high / self.low < 2000 else (1,)
            found = [step * 10.0 ** power for power in range(first, last + 1) for step in steps]
            found = [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]
            return found or [self.low, self.high]
        rough = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


class Drawing:
    def __init__(self, width, height, title):
        self.width, self.height = width, height
        self.parts = [f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
        self.text(12, 22, title, size=15, weight="bold")

    def text(self, x, y, what, anchor="start", size=11, colour="#24292f", weight="normal", turn=None):
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn is not None else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                          f'font-weight="{weight}" fill="{colour}"{turned}>{escape(what)}</text>')

    def line(self, x1, y1, x2, y2, colour="#d0d7de", width=1.0, dashes=None):
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"{dashed}/>')

    def bar(self, x, y, width, height, colour, said):
        self.parts.append(f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" '
                          f'height="{height:.1f}" fill="{colour}"><title>{escape(said)}</title></rect>')

    def point(self, x, y, colour, said):
        self.parts.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}">'
                          f'<title>{escape(said)}</title></circle>')

    def path(self, places, colour, dashes=None):
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        self.parts.append(f'<polyline points={quoteattr(listed)} fill="none" stroke="{colour}" '
                          f'stroke-width="1.8"{dashed}/>')

    def whisker(self, x, y1, y2, colour):
        self.line(x, y1, x, y2, colour)
        for y in (y1, y2):
            self.line(x - 3, y, x + 3, y, colour)

    def done(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif">\n' + "\n".join(self.parts) +
                "\n</svg>\n")


def bars(title, unit, all_bars, is_log=None):
    """Horizontal bars, with a line from each one's least to its most. Limits are grey. Logarithmic if they differ by
    more than twenty times, unless told."""
    if not all_bars:
        raise ValueError("a plot of nothing")
    left = 24 + 6.3 * max(len(bar.name) for bar in all_bars)
    row, top = 19, 42
    bottom = top + row * len(all_bars)
    drawing = Drawing(round(left + 560), round(bottom + 44), title)
    least = min(bar.low for bar in all_bars)
    most = max(bar.high for bar in all_bars)
    if is_log is None:
        is_log = least > 0 and most / least > 20
    axis = Axis(least / 1.5 if is_log else 0, most, left, left + 480, is_log)
    for tick in axis.ticks():
        drawing.line(axis.at(tick), top - 4, axis.at(tick), bottom)
        drawing.text(axis.at(tick), bottom + 15, number(tick), "middle")
    drawing.text(left + 240, bottom + 34, unit + (", logarithmic" if is_log else ""), "middle")
    for i, bar in enumerate(all_bars):
        y = top + row * i
        end = axis.at(bar.value)
        drawing.text(left - 8, y + 12, bar.name, "end")
        drawing.bar(left, y + 2, end - left, row - 6, LIMIT_COLOUR if bar.is_limit else COLOURS[0],
                    f"{bar.name}: {number(bar.value)} {unit}, from {number(bar.low)} to {number(bar.high)}")
        low, high, middle = axis.at(bar.low), axis.at(bar.high), y + row / 2 - 1
        drawing.line(low, middle, high, middle, "#24292f", 1.2)
        for x in (low, high):
            drawing.line(x, middle - 4, x, middle + 4, "#24292f", 1.2)
        drawing.text(max(high, end) + 6, y + 12, number(bar.value))
    return drawing.done()


def lines(title, x_label, y_label, series, log_x=False, log_y=False, ideal=None, x_ticks=None):
    """`series`: names and their Points, each of which may have a spread. `ideal`: (x, y) pairs of a dashed line.
    `x_ticks`: (x, text) pairs instead of round numbers."""
    points = [point for _, of_one in series for point in of_one]
    if not points:
        raise ValueError("a plot of nothing")
    left, right, top, bottom = 66, 560, 44, 344
    drawing = Drawing(round(right + 44 + 6.5 * max(len(name) for name, _ in series)), 396, title)
    xs = [point.x for point in points] + [x for x, _ in ideal or []]
    ys = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    ys += [y for _, y in ideal or []]
    across = Axis(min(xs), max(xs), left, right, log_x)
    up = Axis(min(ys) if log_y else 0, max(ys) * (1 if log_y else 1.05), bottom, top, log_y)
    for tick in up.ticks():
        drawing.line(left, up.at(tick), right, up.at(tick))
        drawing.text(left - 6, up.at(tick) + 4, number(tick), "end")
    for x, said in x_ticks or [(tick, number(tick)) for tick in across.ticks()]:
        drawing.line(across.at(x), bottom, across.at(x), bottom + 4)
        drawing.text(across.at(x), bottom + 17, said, "middle")
    drawing.line(left, bottom, right, bottom, "#57606a")
    drawing.line(left, top, left, bottom, "#57606a")
    drawing.text((left + right) / 2, bottom + 38, x_label, "middle")
    drawing.text(16, (top + bottom) / 2, y_label, "middle", turn=-90)
    if ideal:
        drawing.path([(across.at(x), up.at(y)) for x, y in ideal], LIMIT_COLOUR, "5 4")
        drawing.text(right + 32, top + 10 + 18 * len(series), "ideal")
        drawing.line(right + 10, top + 6 + 18 * len(series), right + 28, top + 6 + 18 * len(series), LIMIT_COLOUR, 1.8,
                     "5 4")
    for i, (name, of_one) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        drawing.path([(across.at(point.x), up.at(point.y)) for point in of_one], colour)
        for point in of_one:
            x = across.at(point.x)
            if point.low is not None and point.high is not None:
                drawing.whisker(x, up.at(point.low), up.at(point.high), colour)
            drawing.point(x, up.at(point.y), colour, f"{name}: {number(point.y)} at {number(point.x)}")
        drawing.line(right + 10, top + 6 + 18 * i, right + 28, top + 6 + 18 * i, colour, 3)
        drawing.text(right + 32, top + 10 + 18 * i, name)
    return drawing.done()
