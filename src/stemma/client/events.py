"""Server-sent events (WHATWG HTML §9.2), resumed where they broke off."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from stemma.client.connection import Connection
from stemma.client.problems import UnexpectedAnswer
from stemma.errors import Unavailable

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One event of a stream."""

    kind: str
    id: str
    text: str

    @property
    def told(self) -> Any:
        """What its text says, as JSON.

        Raises:
            UnexpectedAnswer: it is none.
        """
        try:
            return json.loads(self.text) if self.text else None
        except (ValueError, RecursionError) as error:
            raise UnexpectedAnswer(f"the service sent an event that is not JSON: {self.text[:100]!r}") from error


def parse(lines: Iterator[str], last_id: str = "") -> Iterator[Sent]:
    """The events in ``lines``. One that its blank line does not end is dropped, as the standard has it."""
    kind, texts = "", list[str]()
    for line in lines:
        if not line:
            if texts or kind:
                yield Sent(kind or "message", last_id, "\n".join(texts))
            kind, texts = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            texts.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value


class _Patience:
    """How long to pause before the next connection, and when to give up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pause, self._silent_since = _FIRST_PAUSE_SECONDS, time.monotonic()

    def heard(self, lines: Iterator[str]) -> Iterator[str]:
        """``lines`` as they are. Each shows that somebody is there; all but those that open a stream, that it works."""
        for line in lines:
            self._silent_since = time.monotonic()
            if line and not line.startswith("retry:"):
                self._pause = _FIRST_PAUSE_SECONDS
            yield line

    def broke(self, *, after_an_answer: bool) -> bool:
        """Note a connection that failed; whether to go on."""
        if after_an_answer:
            self._silent_since = time.monotonic()  # a stream may be silent for a while before it breaks
        return self._seconds > 0 and time.monotonic() - self._silent_since <= self._seconds

    def rest(self) -> None:
        """Wait, longer each time."""
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)


def follow(connection: Connection, path: str, *, patience_seconds: float, last_id: str = "") -> Iterator[Sent]:
    """The events at ``path`` until the one called ``end``, each once, over as many connections as it takes.

    Raises:
        ServiceUnreachable, Unavailable: nobody has answered for ``patience_seconds``.
        StemmaError: as the service refused.
    """
    patience = _Patience(patience_seconds)
    while True:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        is_open = False
        try:
            with connection.lines(path, headers=headers) as lines:
                is_open = True
                for sent in parse(patience.heard(lines), last_id):
                    last_id = sent.id
                    yield sent
                    if sent.kind == "end":
                        return
        except Unavailable:
            if not patience.broke(after_an_answer=is_open):
                raise
        patience.rest()
