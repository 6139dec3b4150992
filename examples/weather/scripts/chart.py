"""Draw precipitation and wet days by month, city beside city: chart.py MONTHS WET_DAY_MM CHART.

Writes SVG. Bars are the mean of the years, dots are the single years.
"""

import csv
import math
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 756
LEFT, RIGHT = 72, 24
PANEL_HEIGHT = 230
FIRST_PANEL, SECOND_PANEL = 160, 480
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
MONTH_WIDTH = (WIDTH - LEFT - RIGHT) / len(MONTHS)
BAR_SHARE = 0.76  # of a month's width
TICKS = 6  # at most, above zero

# Of bars and dots, told apart by people with colour blindness too.
COLOURS = [("#e3a02f", "#8a5a00"), ("#4a90c4", "#15486f"), ("#5aae8b", "#1c5e45"), ("#b583b5", "#663a66")]
TEXT, FAINT, GRID = "#222222", "#5f6368", "#e3e5e8"


@dataclass
class Panel:
    """One of the two diagrams: what it shows and where it begins."""

    top: int
    name: str
    unit: str
    column: str


def main(months_file: str, wet_day: str, chart: str) -> None:
    """Read the monthly table and write the chart."""
    with Path(months_file).open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    cities = sorted({row["city"] for row in rows})
    years = sorted({row["year"] for row in rows})
    if not 0 < len(cities) <= len(COLOURS):
        sys.exit(f"chart: can show 1 to {len(COLOURS)} cities, not {len(cities)}")

    title = "Precipitation month by month in " + " and ".join(cities)
    subtitle = (
        f"{years[0]} to {years[-1]}. Bars are the mean of {len(years)} years; "
        "dots are the single years, from left to right."
    )
    panels = [
        Panel(FIRST_PANEL, "Precipitation", "mm a month", "precipitation_mm"),
        Panel(SECOND_PANEL, f"Wet days, of {float(wet_day):g} mm or more", "days a month", "wet_days"),
    ]
    parts = [
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(subtitle)}</desc>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(LEFT, 40, title, 'font-size="24" font-weight="bold"'),
        text(LEFT, 66, subtitle, f'font-size="15" fill="{FAINT}"'),
        *legend(cities),
    ]
    for panel in panels:
        parts += draw_panel(panel, rows, cities, years)

    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="14" fill="{TEXT}" '
        'font-family="Helvetica, Arial, Liberation Sans, sans-serif">'
    )
    Path(chart).write_text("\n".join([opening, *parts, "</svg>"]) + "\n", encoding="utf-8")


def legend(cities: list[str]) -> list[str]:
    """Show the colours of each city."""
    x, parts = LEFT, []
    for city, (bar_colour, dot_colour) in zip(cities, COLOURS, strict=False):
        parts += [
            f'<rect x="{x}" y="88" width="16" height="16" fill="{bar_colour}"/>',
            dot(x + 8, 96, dot_colour, city),
            text(x + 24, 101, city, 'font-size="15"'),
        ]
        x += 56 + 8 * len(city)
    return parts


def draw_panel(panel: Panel, rows: list[dict[str, str]], cities: list[str], years: list[str]) -> list[str]:
    """Draw the axes, then the bars and dots of each month and city."""
    values: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for row in rows:
        values[row["city"], int(row["month"])][row["year"]] = float(row[panel.column])
    tick, highest = scale(max(float(row[panel.column]) for row in rows))
    bottom = panel.top + PANEL_HEIGHT
    bar_width = MONTH_WIDTH * BAR_SHARE / len(cities)
    year_width = (bar_width - 6) / len(years)

    def height(value: float) -> float:
        return PANEL_HEIGHT * value / highest

    parts = [
        text(LEFT, panel.top - 20, panel.name, 'font-size="16" font-weight="bold"', f" ({panel.unit})"),
        *axes(panel.top, tick, highest),
    ]
    for month, label in enumerate(MONTHS, start=1):
        left = LEFT + MONTH_WIDTH * (month - BAR_SHARE / 2 - 0.5)
        for city, (bar_colour, dot_colour) in zip(cities, COLOURS, strict=False):
            by_year = values[city, month]
            if by_year:
                mean = math.fsum(by_year.values()) / len(by_year)
                parts.append(
                    f'<rect x="{left + 1:.1f}" y="{bottom - height(mean):.1f}" width="{bar_width - 2:.1f}" '
                    f'height="{height(mean):.1f}" fill="{bar_colour}">'
                    f"<title>{escape(city)}, {label}: {mean:.1f} {panel.unit}</title></rect>"
                )
            for year, value in sorted(by_year.items()):
                x = left + 3 + year_width * (years.index(year) + 0.5)
                hint = f"{city}, {label} {year}: {value:g} {panel.unit}"
                parts.append(dot(x, bottom - height(value), dot_colour, hint))
            left += bar_width
    return parts


def axes(top: int, tick: int, highest: int) -> list[str]:
    """Draw the scale with its lines, and the months below."""
    parts = []
    bottom = top + PANEL_HEIGHT
    for value in range(0, highest + 1, tick):
        y = bottom - PANEL_HEIGHT * value / highest
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID if value else TEXT}"/>',
            text(LEFT - 10, y + 5, str(value), f'text-anchor="end" fill="{FAINT}"'),
        ]
    for number, label in enumerate(MONTHS):
        x = LEFT + MONTH_WIDTH * (number + 0.5)
        parts += [
            f'<path d="M{x:.1f} {bottom}v5" stroke="{TEXT}"/>',
            text(x, bottom + 22, label, 'text-anchor="middle"'),
        ]
    return parts


def scale(highest: float) -> tuple[int, int]:
    """Choose a round distance between ticks, and the first tick that holds the highest value."""
    least = max(1.0, highest / TICKS)
    power = 10 ** math.floor(math.log10(least))
    tick = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
    return tick, tick * max(1, math.ceil(highest / tick))


def text(x: float, y: float, content: str, style: str, remark: str = "") -> str:
    """Write a text, and a remark in a fainter hand behind it."""
    if remark:
        remark = f'<tspan font-weight="normal" fill="{FAINT}">{escape(remark)}</tspan>'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(content)}{remark}</text>'


def dot(x: float, y: float, colour: str, hint: str) -> str:
    """Draw the dot of one year."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" stroke="#ffffff" stroke-width="0.8">'
        f"<title>{escape(hint)}</title></circle>"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
