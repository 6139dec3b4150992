"""Outputs on their way into the store."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from conftest import opened_installation
from stemma import clock
from stemma.engines.protocol import FileSeen, JobState, OutputFile, Report
from stemma.errors import ContentDamaged
from stemma.lifecycle import outputs
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.outputs import take_outputs
from stemma.records import Content, FileKind, Occurrence
from support.scripted_engine import ScriptedEngine

SECRET = b"of another group\n"


class Distant(ScriptedEngine):
    """An engine elsewhere: it tells a digest, and gives bytes."""

    told, given = sha256(SECRET).hexdigest(), SECRET
    asked = 0

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """One file."""
        yield OutputFile(self.occurrence, FileKind.FILE, None, self._chunks)

    def _chunks(self) -> Iterator[bytes]:
        self.asked += 1
        yield self.given

    def report(self, reference: str, cursor: str = "") -> Report:
        """That there is one."""
        self.occurrence = clock.new_uuid()
        content = Content(self.told, len(SECRET))
        made = Occurrence(self.occurrence, FileKind.FILE, "x", "x", content=content, at=clock.now())
        return Report(JobState.FINISHED, "", (FileSeen(made),))


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with opened_installation("sqlite", tmp_path / "home") as made:
        yield made


def test_outputs_when_the_digest_is_that_of_anothers_file_then_the_bytes_have_to_be_shown(
    installation: Installation,
) -> None:
    installation.store.put_bytes(SECRET)
    engine = Distant(is_remote=True)
    engine.given = b"x" * len(SECRET)
    with pytest.raises(ContentDamaged):
        take_outputs(installation, engine, 1, "claimed", engine.report("claimed"))


def test_outputs_when_taken_again_then_what_was_fetched_is_not_fetched_twice(installation: Installation) -> None:
    engine = Distant(is_remote=True)
    for _ in range(2):
        take_outputs(installation, engine, 1, "shown", engine.report("shown"))
    assert engine.asked == 1
    assert installation.store.read(engine.told) == SECRET


class Slow(Distant):
    """One with another output behind it, while which comes the first is dropped."""

    second = b"the second\n"

    def __init__(self, installation: Installation) -> None:
        super().__init__(is_remote=True)
        self.installation = installation

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """Both."""
        yield from super().outputs(reference)
        yield OutputFile(self.other, FileKind.FILE, None, self._dropping)

    def _dropping(self) -> Iterator[bytes]:
        self.installation.store.remove(self.told)
        yield self.second

    def report(self, reference: str, cursor: str = "") -> Report:
        """That there are two."""
        first = super().report(reference, cursor)
        self.other = clock.new_uuid()
        content = Content(sha256(self.second).hexdigest(), len(self.second))
        made = Occurrence(self.other, FileKind.FILE, "y", "y", content=content, at=clock.now())
        return Report(JobState.FINISHED, "", (*first.facts, FileSeen(made)))


def test_outputs_when_one_is_dropped_while_another_takes_long_then_it_is_brought_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "IN_USE_SECONDS", 0.0)  # however soon it comes, it took long
    engine = Slow(installation)
    take_outputs(installation, engine, 1, "slow", engine.report("slow"))
    assert engine.asked == 2
    assert installation.store.read(engine.told) == SECRET
