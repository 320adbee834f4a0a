"""A plot of medians: groups of horizontal bars, each group to its own scale, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

COLOURS = ("#1b6ca8", "#c8553d", "#6a994e", "#a78a7f", "#7b6d8d")
WIDTH, NAMES, BAR, GAP = 720, 190, 18, 34


def draw(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """`groups` is what was measured → who → seconds."""
    lines = [_text(10, 20, title, "bold")]
    y = 24
    for what, seconds in groups.items():
        y += GAP
        lines.append(_text(10, y - 6, what, "bold"))
        longest = max(seconds.values())
        for (name, value), colour in zip(seconds.items(), COLOURS, strict=False):
            width = max(1, round((WIDTH - NAMES - 90) * value / longest))
            lines.append(_text(20, y + 13, name))
            lines.append(f'<rect x="{NAMES}" y="{y}" width="{width}" height="{BAR - 3}" fill="{colour}"/>')
            lines.append(_text(NAMES + width + 6, y + 13, f"{value:.3g} s"))
            y += BAR
    style = f'font-family="sans-serif" font-size="12" viewBox="0 0 {WIDTH} {y + 12}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {style}>'
    return "\n".join([start, '<rect width="100%" height="100%" fill="white"/>', *lines, "</svg>", ""])


def _text(x: int, y: int, text: str, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" font-weight="{weight}">{escape(text)}</text>'
