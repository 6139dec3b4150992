"""Summarise one city and year: summarise.py DAYS WET_DAY_MM NAME.

Writes NAME-months.csv, NAME-dry-spells.csv and NAME-totals.json. A dry spell is a row of days that
are not wet. Decimals are added as decimals, so the sums are the same everywhere.
"""

import csv
import json
import sys
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from pathlib import Path

MONTHS_COLUMNS = ["city", "year", "month", "precipitation_mm", "wet_days", "mean_temp_c"]
SPELLS_COLUMNS = ["city", "year", "days", "first", "last", "precipitation_mm", "highest_temp_c"]


@dataclass
class Day:
    """The observations of one day."""

    city: str
    date: str
    precipitation: Decimal
    highest: Decimal
    lowest: Decimal
    wet: bool


def main(days_file: str, wet_day: str, name: str) -> None:
    """Write the months, the dry spells and the totals of a year."""
    days = read(days_file, Decimal(wet_day))
    city, year = days[0].city, int(days[0].date[:4])

    months = [list(month) for _, month in groupby(days, lambda day: day.date[:7])]
    dry_spells = [list(spell) for wet, spell in groupby(days, lambda day: day.wet) if not wet]
    totals = {
        "city": city,
        "year": year,
        "precipitation_mm": float(precipitation(days)),
        "wet_days": wet_days(days),
        "longest_dry_spell": max(map(len, dry_spells), default=0),
    }

    write_table(
        f"{name}-months.csv",
        MONTHS_COLUMNS,
        [
            [city, year, int(month[0].date[5:7]), precipitation(month), wet_days(month), mean_temperature(month)]
            for month in months
        ],
    )
    write_table(
        f"{name}-dry-spells.csv",
        SPELLS_COLUMNS,
        [
            [city, year, len(spell), spell[0].date, spell[-1].date, precipitation(spell), highest_temperature(spell)]
            for spell in dry_spells
        ],
    )
    Path(f"{name}-totals.json").write_text(json.dumps(totals, indent=2) + "\n", encoding="utf-8")


def read(days_file: str, wet_day: Decimal) -> list[Day]:
    """Read the days of one city and year, in order of date."""
    with Path(days_file).open(encoding="utf-8", newline="") as table:
        return [
            Day(
                city=row["city"],
                date=row["date"],
                precipitation=Decimal(row["precipitation_mm"]),
                highest=Decimal(row["temp_max_c"]),
                lowest=Decimal(row["temp_min_c"]),
                wet=Decimal(row["precipitation_mm"]) >= wet_day,
            )
            for row in csv.DictReader(table)
        ]


def precipitation(days: list[Day]) -> Decimal:
    """Add up the precipitation."""
    return tenths(sum((day.precipitation for day in days), Decimal(0)))


def wet_days(days: list[Day]) -> int:
    """Count the wet days."""
    return sum(day.wet for day in days)


def mean_temperature(days: list[Day]) -> Decimal:
    """Take the mean over days, each halfway between its highest and its lowest temperature."""
    return tenths(sum((day.highest + day.lowest for day in days), Decimal(0)) / (2 * len(days)))


def highest_temperature(days: list[Day]) -> Decimal:
    """Find the temperature of the warmest day."""
    return tenths(max(day.highest for day in days))


def tenths(number: Decimal) -> Decimal:
    """Round to one decimal, halves up."""
    return number.quantize(Decimal("0.1"), ROUND_HALF_UP)


def write_table(name: str, columns: list[str], rows: list[list[object]]) -> None:
    """Write a CSV file."""
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
