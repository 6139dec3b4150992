"""How much CPU does ``stemma serve`` use until its API answers?"""

import statistics
import tempfile
from pathlib import Path

import psutil

import common

REPETITIONS = 7


def start_once(folder: Path) -> float:
    """CPU seconds of the API's process up to its first answer."""
    with common.started(folder, "--no-worker") as (url, process):
        common.await_answer(url)
        times = psutil.Process(process.pid).cpu_times()
        return times.user + times.system


def main() -> None:
    """Start it some times on one data folder; print the CPU seconds."""
    with tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder:
        first, *counted = [start_once(Path(folder)) for _ in range(REPETITIONS + 1)]
    print(f"API import and start ({REPETITIONS} times): median {statistics.median(counted):.2f} s of CPU")
    print(f"  [{min(counted):.2f}-{max(counted):.2f}]; the very first start, which makes the database: {first:.2f} s")


if __name__ == "__main__":
    main()
