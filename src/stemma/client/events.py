"""Server-sent events (WHATWG HTML §9.2), resumed where they broke off."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from stemma.client.connection import Connection
from stemma.client.problems import ServiceUnreachable
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
        """What its text says, as JSON."""
        return json.loads(self.text) if self.text else None


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


def follow(connection: Connection, path: str, *, patience_seconds: float, last_id: str = "") -> Iterator[Sent]:
    """The events at ``path`` until the one called ``end``, each once, over as many connections as it takes.

    Raises:
        ServiceUnreachable, Unavailable: nobody has answered for ``patience_seconds``.
        StemmaError: as the service refused.
    """
    pause, silent_since = _FIRST_PAUSE_SECONDS, time.monotonic()
    while True:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        try:
            with connection.lines(path, headers=headers) as lines:
                for sent in parse(lines, last_id):
                    last_id, pause, silent_since = sent.id, _FIRST_PAUSE_SECONDS, time.monotonic()
                    yield sent
                    if sent.kind == "end":
                        return
        except Unavailable as error:
            if time.monotonic() - silent_since > patience_seconds:
                raise
            if isinstance(error, ServiceUnreachable) and pause == _FIRST_PAUSE_SECONDS:
                silent_since = time.monotonic()  # a stream may be silent for long before it breaks
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
