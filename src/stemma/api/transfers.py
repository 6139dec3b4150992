"""Requests to remotes: so many at once, in threads of their own, and bytes on their way through.

A remote may be as slow as it likes, and so may whoever sends or takes a file: none of them takes the threads of the
other routes, and no person all of those that are here.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final, TypeVar

import anyio
from anyio import CapacityLimiter, from_thread, to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from stemma.errors import Finding, InvalidRequest, TooManyTransfers

T = TypeVar("T")

SILENCE_SECONDS: Final = 30.0
"""How long whoever sends or takes a file may let us wait."""


class Transfers:
    """Counts the requests to remotes that are under way. Used by the event loop alone, so that it needs no lock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(1, most // 2)
        self._of: Counter[str] = Counter()
        self._threads = CapacityLimiter(most)

    @contextmanager
    def one_of(self, subject: str) -> Iterator[None]:
        """Count one more of ``subject`` meanwhile.

        Raises:
            TooManyTransfers: there are as many as may be.
        """
        if self._of.total() >= self._most or self._of[subject] >= self._most_of_one:
            raise TooManyTransfers
        self._of[subject] += 1
        try:
            yield
        finally:
            self._of[subject] -= 1
            if not self._of[subject]:
                del self._of[subject]

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, in a thread. To be asked within :meth:`one_of`."""
        return await to_thread.run_sync(work, limiter=self._threads)

    async def asked(self, subject: str, work: Callable[[], T]) -> T:
        """What ``work`` gives, in a thread, counted as one of ``subject``.

        Raises:
            TooManyTransfers: there are as many as may be.
        """
        with self.one_of(subject):
            return await self.run(work)


class Sent:
    """The body of a request, to be read in a thread while it comes."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := from_thread.run(self._received):
            yield chunk

    async def _received(self) -> bytes:
        try:
            with anyio.fail_after(SILENCE_SECONDS):
                async for chunk in self._stream:
                    if chunk:
                        return chunk
        except TimeoutError as error:
            message = f"nothing of the file came for {SILENCE_SECONDS:.0f} seconds"
            raise InvalidRequest(message, [Finding(message, "request/silence")]) from error
        return b""


class Opened:
    """A file that is about to be sent: what is said of it, and its bytes."""

    def __init__(self, status: int, headers: Mapping[str, str], chunks: Iterator[bytes], held: ExitStack) -> None:
        self.status = status
        self.headers = headers
        self.chunks = chunks
        self.held = held
        """To be closed when the bytes are through."""


class Download(StreamingResponse):
    """A file on its way from a remote to whoever asked.

    It is opened when it is sent and not where it is made: what is made may never be sent.
    """

    def __init__(self, transfers: Transfers, subject: str, opened: Callable[[], Opened], media_type: str) -> None:
        super().__init__(self._sent(), media_type=media_type)
        self._transfers, self._subject, self._opening = transfers, subject, opened
        self._opened: Opened | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            TooManyTransfers: there are as many as may be.
        """
        with self._transfers.one_of(self._subject):
            self._opened = await self._transfers.run(self._opening)
            try:
                self.status_code = self._opened.status
                self.headers.update(self._opened.headers)
                await super().__call__(scope, receive, _impatient(send))
            finally:
                held = self._opened.held
                with anyio.CancelScope(shield=True):
                    await self._transfers.run(held.close)

    async def _sent(self) -> AsyncIterator[bytes]:
        assert self._opened is not None  # noqa: S101 - __call__ has opened it
        chunks = self._opened.chunks
        while (chunk := await self._transfers.run(lambda: next(chunks, None))) is not None:
            yield chunk


def _impatient(send: Send) -> Send:
    async def sent(message: Message) -> None:
        with anyio.fail_after(SILENCE_SECONDS):
            await send(message)

    return sent
