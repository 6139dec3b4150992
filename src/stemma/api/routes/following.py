"""What happens in an execution while it happens: events and logs. The only asynchronous streams of the service.

Each open one would hold a thread otherwise. Their looks into the database run in threads of their own, so that
many streams do not take those of the other requests, and become rare while nothing happens.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from stemma import clock
from stemma.api.answers import answer
from stemma.api.dependencies import Caller, ExecutionId, Reader
from stemma.api.error_responses import guarded
from stemma.api.logs import LogFollower, is_called, tails
from stemma.api.schemas.envelope import Envelope
from stemma.api.schemas.runs import EventShown, LogsShown
from stemma.api.streams import CountedStream
from stemma.database.queries import events, queue, recorded, runs, workflows
from stemma.errors import RunNotFound, StepNotFound, Unavailable
from stemma.records import RunEvent, RunSummary, StepDefinition, StepRecord, WorkflowStructure
from stemma.wake import Following

router = APIRouter(prefix="/workflow_execution", tags=["execution"])
logger = logging.getLogger(__name__)

FAST_SECONDS: Final = 0.05
SLOW_SECONDS: Final = 0.5
"""Between these lies the pause between two looks: fast after news, ever slower without."""
HEARTBEAT_SECONDS: Final = 15.0
_EVENTS_A_LOOK: Final = 500
_EVENT: Final = (
    "id: 88\nevent: run\n"
    'data: {"id":88,"at":"2026-05-04T09:30:00.123456Z","status":"running","step_id":null,"step_key":null,'
    '"message":null}\n\n'
)
"""How an event looks; its data is an ``Event`` of the contract."""
_LIVE: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Neither kept nor held back on the way."""


@router.get(
    "/{execution_id:number}/events",
    response_class=Response,
    responses=guarded(404, 429)
    | {200: {"description": "server-sent events", "content": {"text/event-stream": {"example": _EVENT}}}},
)
def follow_events(
    caller: Reader,
    execution_id: ExecutionId,
    last_event_id: Annotated[str | None, Header(description="Go on behind this event.")] = None,
) -> Response:
    """Every change of state of an execution and its steps, from the first to the last, as server-sent events.

    `run` and `step` events carry an id to resume from; `end` is the last. A comment is sent when nothing happens.
    The stream breaks off when the token ends: go on with a fresh one and `Last-Event-ID`.
    """
    with caller.installation.database.reading() as session:
        runs.get(session, execution_id, caller.principal.groups)
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 19 else 0  # noqa: PLR2004 - digits that every database can compare
    feed = EventFeed(caller, execution_id, after)
    return _stream(caller, feed.sent(), "text/event-stream")


@dataclass(slots=True)
class EventFeed:
    """The events of one run, on their way to one listener."""

    caller: Caller
    run_id: int
    after: int

    async def sent(self) -> AsyncIterator[bytes]:
        """The stream, to its end."""
        pause, spoke = FAST_SECONDS, time.monotonic()
        following = Following(self.caller.installation.settings.home, self.run_id)
        yield b"retry: 1000\n\n"
        while clock.now().timestamp() < self.caller.principal.expires_at:
            found, ended = await self._look()
            if found:
                pause, spoke = FAST_SECONDS, time.monotonic()
                yield b"".join(map(_event, found))
            if ended is not None and len(found) < _EVENTS_A_LOOK:
                yield f'event: end\ndata: {{"status":"{ended}"}}\n\n'.encode()
                return
            if time.monotonic() - spoke >= HEARTBEAT_SECONDS:
                spoke = time.monotonic()
                yield b": nothing new\n\n"
            if len(found) < _EVENTS_A_LOOK:
                await self._rest(following, pause)
                pause = min(pause * 1.3, SLOW_SECONDS)

    @staticmethod
    async def _rest(following: Following, pause: float) -> None:
        """Until a worker has written down something new, or for ``pause`` where no word of it comes."""
        until = time.monotonic() + pause
        await asyncio.sleep(FAST_SECONDS)
        while not following.has_news() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 - a file tells
            await asyncio.sleep(min(left, FAST_SECONDS))

    async def _look(self) -> tuple[list[RunEvent], str | None]:
        try:
            return await to_thread.run_sync(self._read, limiter=self.caller.service.looking)
        except Unavailable as error:
            logger.warning("events of execution %s wait: %s", self.run_id, error)
            return [], None

    def _read(self) -> tuple[list[RunEvent], str | None]:
        """New events, and how the run ended if it has. Its state first: what led to an end is there by then."""
        with self.caller.installation.database.reading() as session:
            try:
                state = runs.get(session, self.run_id, self.caller.principal.groups).state
                ended = state.value if state.is_terminal else None
            except RunNotFound:
                ended = "deleted"
            found = events.since(session, self.run_id, self.after, limit=_EVENTS_A_LOOK)
        self.after = found[-1].id if found else self.after
        return found, ended


def _event(event: RunEvent) -> bytes:
    kind = "step" if event.step else "run"
    return f"id: {event.id}\nevent: {kind}\ndata: {EventShown.of(event).model_dump_json()}\n\n".encode()


@router.get(
    "/{execution_id:number}/logs",
    response_model=Envelope[LogsShown],
    responses=guarded(404, 429) | {200: {"description": "the logs; text with `follow`", "content": {"text/plain": {}}}},
)
def logs(
    caller: Reader,
    execution_id: ExecutionId,
    step: Annotated[str | None, Query(description="A step's `step_id`, `key`, `path` or `name`.")] = None,
    follow: Annotated[bool, Query(description="Plain text, line by line as it is written, to the end.")] = False,
) -> Response:
    """What each step wrote.

    The last 64 KiB of each, or 16 MiB of the step that is named; everything with `follow`.
    """
    found = _find(caller, execution_id, step)
    if not follow:
        is_chosen = step is not None
        shown = list(tails(caller.installation, found.run, found.steps, is_chosen=is_chosen))
        return answer(
            LogsShown(execution_id=execution_id, status=found.run.state.value, logs=shown), f"{len(shown)} logs"
        )
    follower = LogFollower(
        caller.installation,
        execution_id,
        caller.principal.groups,
        wanted=step,
        has_prefixes=len(found.steps) != 1 if found.run.state.is_terminal else _has_several(found.structure, step),
    )
    pieces = _followed(follower, caller.service.looking, caller.principal.expires_at)
    return _stream(caller, pieces, "text/plain; charset=utf-8")


def _stream(caller: Caller, pieces: AsyncIterator[bytes], media_type: str) -> Response:
    return CountedStream(pieces, caller.service.streams, caller.principal.subject, media_type=media_type, headers=_LIVE)


@dataclass(frozen=True, slots=True)
class _Found:
    run: RunSummary
    steps: list[StepRecord]
    structure: WorkflowStructure


def _find(caller: Caller, run_id: int, name: str | None) -> _Found:
    """The run and those of its steps that are asked for.

    Raises:
        RunNotFound: there is no such run.
        StepNotFound: it has no such step, and will have none.
    """
    with caller.installation.database.reading() as session:
        run = runs.get(session, run_id, caller.principal.groups)
        row = queue.run_row(session, run_id)
        structure = workflows.revision_by_id(session, row.revision_id).structure
        steps = recorded.steps(session, run_id, attempt=run.attempt)
    chosen = [step for step in steps if name is None or is_called(step, name)]
    if name is not None and not chosen and (run.state.is_terminal or _definition(structure.steps, name) is None):
        raise StepNotFound(run_id, name)
    return _Found(run, chosen, structure)


def _definition(steps: tuple[StepDefinition, ...], name: str) -> StepDefinition | None:
    for step in steps:
        if name in {step.path, step.path.rpartition("/")[2]}:
            return step
        inner = _definition(step.steps, name)
        if inner is not None:
            return inner
    return None


def _has_several(structure: WorkflowStructure, name: str | None) -> bool:
    """Whether more than one execution of a step may write."""
    if name is None:
        return structure.cwl_class == "Workflow"
    step = _definition(structure.steps, name)
    return step is not None and bool(step.scatter or step.steps or "/" in step.path)


async def _followed(follower: LogFollower, threads: CapacityLimiter, until: float) -> AsyncIterator[bytes]:
    pause = FAST_SECONDS
    while not follower.is_over and clock.now().timestamp() < until:
        try:
            piece = await to_thread.run_sync(follower.look, limiter=threads)
        except Unavailable as error:
            logger.warning("logs of execution %s wait: %s", follower.run_id, error)
            piece = b""
        if piece:
            pause = FAST_SECONDS
            yield piece
        elif not follower.is_over:
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, SLOW_SECONDS)
