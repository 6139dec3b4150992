"""Work that takes a while, and tells how far it is while it goes on: as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from stemma.api import audit
from stemma.api.error_responses import ERROR_HEADER, error_answer, incident, refusal
from stemma.api.transfers import Transfers
from stemma.errors import StemmaError

_EVERY_SECONDS: Final = 0.25
_LIVE: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done, once it is known that it may be."""

    size_bytes: int
    do: Callable[[Callable[[int], None]], dict[str, Any]]
    """Does it, tells how many bytes are through, and gives what came of it."""


class _GivenUp(Exception):
    """Whoever asked for it has gone."""


class Followed(StreamingResponse):
    """The work of ``opened``, which is begun when the answer is sent: what is refused then has its own status."""

    def __init__(self, transfers: Transfers, subject: str, opened: Callable[[], Work]) -> None:
        super().__init__(self._sent(), media_type="text/event-stream", headers=_LIVE)
        self._transfers, self._subject, self._opening = transfers, subject, opened
        self._work: Work | None = None
        self._scope: Scope = {}
        self._moved = 0
        self._is_given_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            TooManyTransfers: there are as many as may be.
        """
        self._scope = scope
        with self._transfers.one_of(self._subject):
            self._work = await self._transfers.run(self._opening)
            try:
                await super().__call__(scope, receive, send)
            finally:
                self._is_given_up = True

    async def _sent(self) -> AsyncIterator[bytes]:
        assert self._work is not None  # noqa: S101 - __call__ has opened it
        work, size = self._work, self._work.size_bytes
        doing = asyncio.create_task(self._transfers.run(lambda: work.do(self._told)))
        doing.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asked may have gone
        while not doing.done():
            yield _event("progress", {"moved_bytes": self._moved, "size_bytes": size})
            await asyncio.wait({doing}, timeout=_EVERY_SECONDS)
        try:
            yield _event("end", doing.result())
        except StemmaError as error:
            yield await self._failed(error)
        except Exception as error:  # noqa: BLE001 - it is logged under a number, as that of any request
            yield _event("failed", {"code": 500, "kind": "internal-error", "envelope": _unknown(error)})

    def _told(self, moved: int) -> None:
        self._moved = moved
        if self._is_given_up:
            raise _GivenUp

    async def _failed(self, error: StemmaError) -> bytes:
        await audit.refused(self._scope, error.code, error.status)
        answer = refusal(error)
        told = {"code": answer.status_code, "kind": answer.headers[ERROR_HEADER]}
        return _event("failed", told | {"envelope": orjson.loads(answer.body)})


def _unknown(error: Exception) -> Any:
    return orjson.loads(error_answer(500, incident(error)).body)


def _event(kind: str, told: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(told))
