"""Answers that stay open: how many each caller may have."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from stemma.errors import Unavailable

MOST_STREAMS: Final = 100
"""How many a caller may have open at once, in each process of the service."""


class TooManyStreams(Unavailable):
    """The caller has as many streams open as may be."""

    code, status, exit_code = "too-many-streams", HTTPStatus.TOO_MANY_REQUESTS, 75

    def __init__(self, limit: int) -> None:
        super().__init__(f"you have {limit} streams open, of events and of logs; end some of them first")
        self.limit = limit


class OpenStreams:
    """Counts the streams of each caller. Used by the event loop alone, so that it needs no lock."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_of(self, subject: str) -> Iterator[None]:
        """Count one more of ``subject`` meanwhile.

        Raises:
            TooManyStreams: there are as many as may be.
        """
        if self._open[subject] >= MOST_STREAMS:
            raise TooManyStreams(MOST_STREAMS)
        self._open[subject] += 1
        try:
            yield
        finally:
            self._open[subject] -= 1
            if not self._open[subject]:
                del self._open[subject]


class CountedStream(StreamingResponse):
    """A stream that counts from its first byte until it has ended or its listener has gone.

    It is counted when it is sent and not where it is made: what is made may never be sent.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        streams: OpenStreams,
        subject: str,
        *,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._streams = streams
        self._subject = subject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            TooManyStreams: its listener has as many as may be.
        """
        with self._streams.one_of(self._subject):
            await super().__call__(scope, receive, send)
