"""Curves of false cut-offs against latency as SVG. Pure.

Without a style sheet, which a strict policy would keep away; on white, so that it is read on any ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from server.evaluation.endpointing.sweep import Curve, Point

WIDTH, HEIGHT = 760, 420
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 50, 20, 60
MOST_MS = 1500.0
_COLOURS = ("#2f6fd0", "#1f8a5b", "#b06000", "#777777", "#b03a8c")
_DASHES = ("", "8 3", "3 3", "1 3", "10 3 2 3")
_FONT = 'font-family="system-ui, sans-serif" font-size="12" fill="#222222"'
_GRID = 'stroke="#cccccc"'


def svg(title: str, curves: Sequence[Curve]) -> str:
    """Latency to the right, share of false cut-offs upwards; a dot where the present settings are."""
    most = max(0.1, min(1.0, max((point.cut for curve in curves for point in curve.points), default=1.0)))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="False cut-offs against latency: {escape(title)}" {_FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20">False cut-offs against the time from end of speech to end of turn</text>',
        f'<text x="{_LEFT}" y="38">{escape(title)}</text>',
    ]
    parts += _grid(most)
    for number, curve in enumerate(curves):
        colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
        steps = _steps([point for point in curve.points if point.latency_ms <= MOST_MS], most)
        stroke = f'stroke-width="2" stroke="{colour}" stroke-dasharray="{dash}"'
        parts.append(f'<polyline fill="none" {stroke} points="{steps}"/>')
        if curve.present is not None and curve.present.latency_ms <= MOST_MS:
            x, y = _place(curve.present, most)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        y = _TOP + 16 + 18 * number
        x = WIDTH - 300
        parts.append(f'<line x1="{x}" x2="{x + 34}" y1="{y}" y2="{y}" {stroke}/>')
        parts.append(f'<text x="{x + 42}" y="{y + 4}">{escape(curve.policy)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _x(milliseconds: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * milliseconds / MOST_MS


def _y(share: float, most: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share / most


def _place(point: Point, most: float) -> tuple[float, float]:
    return _x(point.latency_ms), _y(min(point.cut, most), most)


def _steps(points: Sequence[Point], most: float) -> str:
    """A staircase: between two settings nothing was measured."""
    told: list[str] = []
    last: float | None = None
    for point in points:
        x, y = _place(point, most)
        if last is not None:
            told.append(f"{x:.1f},{last:.1f}")
        told.append(f"{x:.1f},{y:.1f}")
        last = y
    if last is not None:
        told.append(f"{_x(MOST_MS):.1f},{last:.1f}")
    return " ".join(told)


def _grid(most: float) -> list[str]:
    parts = []
    for milliseconds in range(0, int(MOST_MS) + 1, 300):
        x = _x(milliseconds)
        parts.append(f'<line {_GRID} x1="{x}" x2="{x}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{milliseconds}</text>')
    for n in range(5):
        share = most * n / 4
        y = _y(share, most)
        parts.append(f'<line {_GRID} x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{share:.0%}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">mean latency, ms</text>')
    return parts
