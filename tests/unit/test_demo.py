"""The parts of the demonstration: its slow server, and what it reads from the record."""

import hashlib
import time
from pathlib import Path

import httpx
import pytest

from stemma.cli.demo_overlap import overlap_in
from stemma.cli.demo_source import BYTES_PER_SECOND, by_city_and_year, far_away

ROOT = Path(__file__).parents[2]


def replication(begin: int, end: int, count: int = 100) -> dict[str, object]:
    return {
        "prov:type": [{"$": "stemma:Replication", "type": "prov:QUALIFIED_NAME"}],
        "prov:startTime": f"2026-01-01T00:00:{begin:02}+00:00",
        "prov:endTime": f"2026-01-01T00:00:{end:02}+00:00",
        "stemma:movedBytes": {"$": str(count), "type": "xsd:long"},
    }


def step(begin: int, end: int, *kinds: str) -> dict[str, object]:
    types = [{"$": kind, "type": "prov:QUALIFIED_NAME"} for kind in ("wfprov:ProcessRun", *kinds)]
    return {**replication(begin, end), "prov:type": types}


def test_overlap_when_transfers_and_steps_interleave_then_only_common_time_counts() -> None:
    activities = [replication(0, 4), replication(2, 6), step(3, 5), step(5, 9), step(0, 20, "wfprov:WorkflowRun")]
    found = overlap_in({"activity": {str(number): one for number, one in enumerate(activities)}})
    assert (found.files, found.moved_bytes, found.moving_seconds, found.overlap_seconds) == (2, 200, 6.0, 3.0)


def test_overlap_when_nothing_was_moved_then_there_is_none() -> None:
    assert overlap_in({"activity": {"a": step(0, 4)}}).files == 0


def test_source_when_asked_then_gives_whole_files_and_ranges_slowly() -> None:
    content = bytes(range(256)) * 40
    with far_away({"a": content}) as url, httpx.Client(base_url=url, trust_env=False) as client:
        began = time.monotonic()
        assert client.get("/a").content == content
        assert time.monotonic() - began >= len(content) / BYTES_PER_SECOND
        part = client.get("/a", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, content[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
        assert client.get("/b").status_code == 404


@pytest.fixture
def observations() -> Path:
    return ROOT / "examples" / "weather" / "observations.csv"


def test_parts_when_the_table_is_taken_apart_then_no_row_is_lost_or_changed(observations: Path) -> None:
    parts = by_city_and_year(observations)
    assert next(iter(parts)) == "new-york-2012.csv"
    assert len(parts) == 8
    header, *rows = observations.read_text().splitlines()
    found = [part.decode().splitlines() for part in parts.values()]
    assert {part[0] for part in found} == {header}
    assert sorted(line for part in found for line in part[1:]) == sorted(rows)
    assert len({hashlib.sha256(part).hexdigest() for part in parts.values()}) == 8
