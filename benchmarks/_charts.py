"""Charts as SVG, for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 360, 60, 20, 50
COLORS = ["#b0413e", "#4f7cac", "#3a7d44", "#7a5195"]


def line_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str
) -> str:
    """A chart of curves over the shares 0 to 1, from 0 up.

    Args:
        curves: points ``(share, value)`` of each curve, by its name.
        x_label: what the shares are of.
        y_label: what the values are.
    """
    top = 1.1 * max(value for points in curves.values() for _, value in points)
    inner = HEIGHT - TOP - BOTTOM

    def place(share: float, value: float) -> tuple[float, float]:
        return LEFT + share * (WIDTH - LEFT - 20), TOP + inner * (1 - value / top)

    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for step in range(6):
        x, _ = place(step / 5, 0)
        _, y = place(0, top * step / 5)
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>',
            f'<text x="{x:.0f}" y="{HEIGHT - 28}" text-anchor="middle">{step * 20} %</text>',
            f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{top * step / 5:.2f}</text>',
        ]
    for number, (name, points) in enumerate(curves.items()):
        line = TOP + 16 + 18 * number
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>',
            f'<text x="{LEFT + 12}" y="{line}" fill="{color}">{escape(name)}</text>',
        ]
    half = TOP + inner // 2
    beside = f'x="14" y="{half}" transform="rotate(-90 14 {half})"'
    middle = (LEFT + WIDTH - 20) / 2
    parts += [
        f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text {beside} text-anchor="middle">{escape(y_label)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
