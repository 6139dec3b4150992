"""Report on the dry spells of one city and year: report.py DRY_SPELLS WET_DAY_MM REPORT."""

import csv
import sys
from pathlib import Path

LISTED = 5


def main(dry_spells: str, wet_day: str, report: str) -> None:
    """Tell of the longest dry spell, then list the longest ones."""
    with Path(dry_spells).open(encoding="utf-8", newline="") as table:
        spells = list(csv.DictReader(table))
    spells.sort(key=lambda spell: (-int(spell["days"]), spell["first"]))
    longest = spells[0]

    lines = [
        f"{longest['city']}, {longest['year']}: {longest['days']} days without a wet day",
        "",
        f"No day from {longest['first']} to {longest['last']} had {float(wet_day):g} mm of precipitation or more.",
        f"In all {longest['precipitation_mm']} mm fell; the highest temperature was {longest['highest_temp_c']} °C.",
        "",
        "The longest dry spells of the year",
        "",
        "days  first day   last day    precipitation  highest temperature",
    ]
    for spell in spells[:LISTED]:
        dates = f"{spell['days']:>4}  {spell['first']}  {spell['last']}"
        lines.append(f"{dates}  {spell['precipitation_mm']:>10} mm  {spell['highest_temp_c']:>16} °C")
    Path(report).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
