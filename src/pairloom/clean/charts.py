"""Charts of the report: SVG from numbers.

The shapes stretch with the page, while letters and dots are HTML that is positioned over them by percentages, so that the
text stays readable at any width and the colours follow the theme through CSS classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

Real = float | int  # JSON does not distinguish them


def ticks(low: Real, high: Real, most: int = 6) -> list[Real]:
    """Tick positions: round numbers (1, 2 or 5 times a power of ten) inside [low, high], at most `most` + 1 of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: Real) -> str:
    """A number with at most two decimals, a ten-thousandth of a chart's width; the bytes are the same on every machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _steps(edges: Sequence[Real], heights: Sequence[Real]) -> str:
    """The outline of a histogram over a 100 x 100 box, closed at the floor."""
    low, span = edges[0], edges[-1] - edges[0]
    across = [_number(100 * (edge - low) / span) for edge in edges]
    path = [f"M{across[0]} 100"]
    for index, height in enumerate(heights):
        path.append(f"V{_number(100 - 100 * height)}H{across[index + 1]}")
    return "".join(path) + "V100Z"


def _svg(shapes: str) -> str:
    return f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{shapes}</svg>'


def _labels(low: Real, high: Real, side: str, axis: str, places: Sequence[Real]) -> str:
    """Tick labels in a strip; side is the CSS property that places them ("left" or "bottom")."""
    marks = []
    for place in places:
        at = _number(100 * (place - low) / (high - low))
        words = f"{place:g}".replace("-", "\u2212")
        marks.append(f'<span style="{side}:{at}%">{words}</span>')
    return f'<div class="axis {axis}" aria-hidden="true">{"".join(marks)}</div>'


def drawable(counts: Mapping[str, Any] | None) -> bool:
    """Whether a histogram has rising finite edges and one count for every bin."""
    if not counts:
        return False
    edges, own, planted = (counts.get(name) or [] for name in ("edges", "own", "planted"))
    rising = all(math.isfinite(a) and math.isfinite(b) and a < b for a, b in zip(edges, edges[1:]))
    return len(edges) > 1 and rising and len(own) == len(planted) == len(edges) - 1 and sum(own) > 0


def histogram(
    counts: Mapping[str, Any], curve: Sequence[Sequence[Real]] = (), threshold: Real | None = None
) -> Markup:
    """Histogram of scores: two outlines (the set's own texts, the planted mismatches), each scaled to its own total, and
    P(match) over them.

    counts: {"edges" (n + 1, rising), "own" (n counts), "planted" (n counts)}; see `drawable`.
    curve: (score, P) points; the part inside the edges is drawn. threshold: a score, drawn as a dashed line.
    """
    edges = [float(edge) for edge in counts["edges"]]
    low, high = edges[0], edges[-1]
    shares = [[count / max(1, sum(counts[name])) for count in counts[name]] for name in ("own", "planted")]
    tallest = max(max(heights) for heights in shares) * 1.06
    own, planted = (_steps(edges, [height / tallest for height in heights]) for heights in shares)
    shapes = f'<path class="own" d="{own}"/><path class="planted" d="{planted}"/>'
    inside = [(float(score), float(p)) for score, p in curve if low <= score <= high]
    if len(inside) > 1:
        points = " ".join(
            f"{_number(100 * (s - low) / (high - low))},{_number(100 - 100 * p)}" for s, p in inside
        )
        shapes += f'<polyline class="curve" points="{points}"/>'
    marker = ""
    if threshold is not None and low <= threshold <= high:
        at = _number(100 * (threshold - low) / (high - low))
        marker = f'<div class="chosen" style="left:{at}%"></div>'
    below = '<div class="below" hidden></div><div class="moved" hidden></div>'
    axes = _labels(low, high, "left", "floor", ticks(low, high))
    axes += _labels(0, 1, "bottom", "right", [0, 0.5, 1]) if len(inside) > 1 else ""
    return Markup(f'<div class="plot histogram">{below}{_svg(shapes)}{marker}{axes}</div>')


def reliability(bins: Sequence[Mapping[str, Any]]) -> Markup:
    """Reliability diagram: predicted P(match) against the share that truly matches, by bins; the diagonal is perfect.

    bins: [{"p", "rate", "n"}], p and rate in 0..1; a dot's area grows with n. Empty bins are left out.
    """
    full = [
        bin
        for bin in bins
        if (bin.get("n") or 0) > 0 and bin.get("p") is not None and bin.get("rate") is not None
    ]
    most = max((bin["n"] for bin in full), default=1)
    full.sort(key=lambda bin: bin["p"])
    line = " ".join(f"{_number(100 * bin['p'])},{_number(100 - 100 * bin['rate'])}" for bin in full)
    shapes = f'<path class="ideal" d="M0 100L100 0"/><polyline class="measured" points="{line}"/>'
    dots = "".join(
        f'<i style="left:{_number(100 * bin["p"])}%;bottom:{_number(100 * bin["rate"])}%;'
        f'--size:{_number(5 + 11 * math.sqrt(bin["n"] / most))}px" '
        f'title="stated {bin["p"]:.2f}, true {bin["rate"]:.2f}, {bin["n"]} texts"></i>'
        for bin in full
    )
    axes = _labels(0, 1, "left", "floor", [0, 0.5, 1]) + _labels(0, 1, "bottom", "side", [0, 0.5, 1])
    return Markup(f'<div class="plot reliability">{_svg(shapes)}{dots}{axes}</div>')


def interval(low: Real, middle: Real, high: Real, reach: Real) -> Markup:
    """Confidence interval as a small whisker with a dot, with zero in the middle. reach: the value at both ends."""
    left, dot, right = (
        50 + 50 * max(-1.0, min(1.0, value / reach if reach else 0)) for value in (low, middle, high)
    )
    return Markup(
        f'<span class="whisker" aria-hidden="true"><b style="left:{_number(left)}%;right:{_number(100 - right)}%"></b>'
        f'<i style="left:{_number(dot)}%"></i></span>'
    )
