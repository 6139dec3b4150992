"""Pass a table of daily means on to standard output, or refuse it with exit code 65."""

import argparse
import csv
import sys
from pathlib import Path

BAD_DATA = 65


def main() -> None:
    """Read the command line, check every day, and pass on all lines or none."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("means", type=Path)
    arguments.add_argument("--lowest", type=float, required=True)
    arguments.add_argument("--highest", type=float, required=True)
    chosen = arguments.parse_args()

    lines = chosen.means.read_text(encoding="utf-8").splitlines(keepends=True)
    days = csv.DictReader(lines)
    problems = [
        f"line {days.line_num}: {day['date']}: {day['mean']} degrees Celsius "
        f"is not between {chosen.lowest:g} and {chosen.highest:g}"
        for day in days
        if not chosen.lowest <= float(day["mean"]) <= chosen.highest
    ]
    if problems:
        print(f"{chosen.means.name} is refused: {len(problems)} of {len(lines) - 1} days", file=sys.stderr)
        print("\n".join("  " + problem for problem in problems), file=sys.stderr)
        print("Is a missing reading written as a number, such as -999.9?", file=sys.stderr)
        sys.exit(BAD_DATA)
    sys.stdout.writelines(lines)


if __name__ == "__main__":
    main()
