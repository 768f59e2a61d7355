"""The ratios as bars, an SVG written by hand: a dozen shapes need no library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

_TITLE_W: Final = 430
_BARS_W: Final = 400
_RIGHT_W: Final = 70
_LINE_H: Final = 20
_TOP: Final = 54
_BETTER: Final = "#2b7a5b"
_WORSE: Final = "#b4532a"


def svg(document: Mapping[str, Any]) -> str:
    """Return the plot: to the right ours is better, to the left the public one, by logarithm."""
    rows = document["rows"]
    powers = [math.log10(row["ratio"]) for row in rows]
    low, high = min(0.0, *powers), max(1.0, *powers)
    unit = _BARS_W / (high - low)
    zero = _TITLE_W - low * unit
    width, height = _TITLE_W + _BARS_W + _RIGHT_W, _TOP + _LINE_H * len(rows) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        "<title>How many times better: Chamberlain and the public packages</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(12, 20, "How many times better Chamberlain is (logarithmic)", "start", bold=True),
    ]
    for power in range(math.ceil(low), math.floor(high) + 1):
        x = zero + power * unit
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height - 10}" stroke="#ccc"/>'
        )
        parts.append(_text(x, _TOP - 13, f"{10.0**power:g}", "middle"))
    for number, row in enumerate(rows):
        parts += _bar(row, _TOP + number * _LINE_H, zero, unit)
    return "\n".join([*parts, "</svg>", ""])


def _bar(row: Mapping[str, Any], y: float, zero: float, unit: float) -> list[str]:
    length = math.log10(row["ratio"]) * unit
    x, colour = (zero, _BETTER) if length >= 0 else (zero + length, _WORSE)
    return [
        _text(_TITLE_W - 8, y + 13, row["title"], "end"),
        f'<rect x="{x:.1f}" y="{y + 3}" width="{max(1.0, abs(length)):.1f}" '
        f'height="{_LINE_H - 6}" fill="{colour}"/>',
        _text(x + abs(length) + 5, y + 14, f"{row['ratio']:.2f}", "start"),
    ]


def _text(x: float, y: float, words: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222"{weight}>'
        f"{escape(words)}</text>"
    )
