"""What others told of the steps of a run, where its engine has told nothing: hints of which file is next.

A step that is told to run, and lacks a file, waits for it now: it comes before all that nobody told of. One that has
ended needs nothing any more. A step that runs, or has ended, says as much of those before it.

Strangers may be wrong, and a run must not hang because of it. So what is told to have ended is believed for some
minutes; then, unless the engine has said so too, its files come all the same, behind all others. What is told to run
comes first only as long as it lacks something, and its files are not pinned.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

OTHERS: Final = "*others"
"""Stands for the end of all steps of which nobody told that they had ended."""
RUNNING: Final = "*running"
"""Stands for the end of the steps that are told to run, and lack a file."""
TRUSTED: Final = timedelta(minutes=5)
"""How long the word of a stranger that a step has ended is all that counts."""
_INDEX: Final = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class StepTold:
    """What somebody else told of a step."""

    key: str
    """As the document calls it, or one execution of it: ``each`` for all of ``each[0]``, ``each[1]``."""
    has_ended: bool
    is_running: bool
    told_at: datetime


class Hints:
    """What follows from it for the step executions that are expected."""

    def __init__(
        self,
        told: Sequence[StepTold],
        expected: Mapping[str, frozenset[str]],
        *,
        known: Collection[str],
        lacking: Collection[str],
        now: datetime,
    ) -> None:
        """Work it out.

        Args:
            told: what was told.
            expected: which executions come before each.
            known: those of which the engine has told itself, which goes before all of this.
            lacking: those that lack a file.
            now: the time.
        """
        self.ended: set[str] = set()
        self.gone: set[str] = set()
        """Those of them of which that is believed."""
        self.running: set[str] = set()
        self._expected, self._known, self._now = expected, known, now
        if told:
            found = self._found({one.key: one for one in told})
            for key, one in found.items():
                if one.is_running:
                    self.running.add(key)
                else:
                    self._note_end(key, one.told_at)
            self._look_back(found)
        self.waiting = self.running.intersection(lacking)
        """Those that are told to run, and cannot."""

    def after(self, key: str, before: frozenset[str]) -> frozenset[str]:
        """The executions that end before ``key`` starts, of which the document says ``before``."""
        if key in self.running:
            return frozenset()
        if key in self.ended:
            return frozenset({OTHERS})
        return (before - self.ended) | ({RUNNING} if self.waiting and key not in self._known else frozenset())

    def _found(self, told: Mapping[str, StepTold]) -> dict[str, StepTold]:
        """What was told of each, by its own name before that of the document; that an outer one ended, of its parts."""
        parts = {plain(one.key): one for one in told.values() if one.is_running}  # elements that nobody could count
        found: dict[str, StepTold] = {}
        for key in self._expected:
            if key in self._known:
                continue
            own = told.get(key) or told.get(plain(key)) or parts.get(key)
            above = next((told[name] for name in _above(key) if name in told and told[name].has_ended), None)
            last = own if own is not None and (own.is_running or own.has_ended) else above
            if last is not None:
                found[key] = last
        return found

    def _look_back(self, found: Mapping[str, StepTold]) -> None:
        """What comes before a step that runs, or has ended, has ended as well."""
        told_at = {key: one.told_at for key, one in found.items()}
        pending = sorted(found, key=lambda key: told_at[key])  # what was told last says first how old that is
        seen = set(found)
        while pending:
            key = pending.pop()
            for before in self._expected[key]:
                if before in seen or before in self._known or before not in self._expected:
                    continue
                seen.add(before)
                told_at[before] = told_at[key]
                self._note_end(before, told_at[key])
                pending.append(before)

    def _note_end(self, key: str, told_at: datetime) -> None:
        self.ended.add(key)
        if self._now - told_at < TRUSTED:
            self.gone.add(key)


def plain(key: str) -> str:
    """A step as the document calls it."""
    return _INDEX.sub("", key)


def _above(key: str) -> Iterator[str]:
    """The steps that ``key`` is a part of, from the inside out, each by its own name and by that of the document."""
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key
        yield plain(key)
