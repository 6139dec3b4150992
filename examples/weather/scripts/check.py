"""Check daily observations and write them in order: check.py OBSERVATIONS CHECKED.

Exits with 65 and says what is wrong when days are missing, doubled or impossible.
"""

import csv
import sys
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

COLUMNS = ["location", "date", "precipitation", "temp_max", "temp_min"]
CHECKED_COLUMNS = ["city", "date", "precipitation_mm", "temp_max_c", "temp_min_c"]
# No station on Earth has measured anything outside of these.
LIMITS = {"precipitation": (0.0, 2000.0), "temp_max": (-90.0, 60.0), "temp_min": (-90.0, 60.0)}
BAD_DATA = 65
LISTED = 20


def main(observations: str, checked: str) -> None:
    """Read all days, refuse them if anything is wrong, else write them by city and date."""
    problems: list[str] = []
    days: dict[tuple[str, date], list[str]] = {}
    with Path(observations).open(encoding="utf-8", newline="") as table:
        rows = csv.DictReader(table)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or [])]
        if missing:
            refuse(observations, ["no column " + ", ".join(missing)])
        for row in rows:
            line = f"line {rows.line_num}: "
            try:
                day = (row["location"], date.fromisoformat(row["date"]))
                problems += [line + problem for problem in impossible(row)]
            except (TypeError, ValueError) as error:
                problems.append(f"{line}{error}")
                continue
            if day in days:
                problems.append(f"{line}{day[0]} {day[1]} comes a second time")
            days[day] = [row[name] for name in COLUMNS]
    problems += gaps(days)
    if not days:
        problems.append("no days")
    if problems:
        refuse(observations, problems)

    with Path(checked).open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(CHECKED_COLUMNS)
        writer.writerows(days[day] for day in sorted(days))


def impossible(row: dict[str, str]) -> Iterator[str]:
    """Tell what cannot be about the values of one day."""
    for name, (lowest, highest) in LIMITS.items():
        if not lowest <= float(row[name]) <= highest:
            yield f"{name} {row[name]} is not between {lowest:g} and {highest:g}"
    if float(row["temp_min"]) > float(row["temp_max"]):
        yield f"temp_min {row['temp_min']} is above temp_max {row['temp_max']}"


def gaps(days: Iterable[tuple[str, date]]) -> Iterator[str]:
    """Name the missing days: months are summed up, so every year that is there must be whole."""
    present = set(days)
    for city, year in sorted({(city, day.year) for city, day in present}):
        day = date(year, 1, 1)
        while day.year == year:
            if (city, day) not in present:
                yield f"{city} {day} is missing"
            day += timedelta(days=1)


def refuse(observations: str, problems: list[str]) -> None:
    """Say what is wrong and end."""
    print(f"{Path(observations).name} is refused", file=sys.stderr)
    for problem in problems[:LISTED]:
        print("  " + problem, file=sys.stderr)
    if len(problems) > LISTED:
        print(f"  and {len(problems) - LISTED} more", file=sys.stderr)
    sys.exit(BAD_DATA)


if __name__ == "__main__":
    main(*sys.argv[1:])
