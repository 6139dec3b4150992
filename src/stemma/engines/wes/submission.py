"""Starting a run once, also when the server's answer is lost.

Before the server is asked that is written down, and so is its answer. Where an asking without an answer is found, the
server's runs are looked through for the tags of ours. Nothing is asked anew before the server has told that it has no
such run, and has had time to take it; where it cannot tell, nothing is started at all.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from stemma import clock
from stemma.engines.wes.answers import RunEntry
from stemma.engines.wes.folder import Trail, WesFolder
from stemma.engines.wes.request import ATTEMPT_TAG, RUN_TAG, Asking
from stemma.engines.wes.server import NAME, NotSent, NotThere, WesServer
from stemma.engines.wes.states import CANCELED, meaning
from stemma.errors import EngineRefused, EngineUnreachable

logger = logging.getLogger(__name__)

_MOST_PAGES: Final = 100
_MOST_LOOKED_INTO: Final = 200


def start(
    folder: WesFolder, trail: Trail, server: WesServer, asking: Callable[[], Asking], *, settle_seconds: float
) -> None:
    """Have the server start the run of ``trail``, unless it has it already. What it is asked is made when it is: the
    URLs in it are good for some time only.

    Raises:
        EngineRefused: the server will not, or cannot tell whether it did.
        EngineUnreachable: it does not answer; call again.
    """
    if trail.asked:
        found = find(trail, server)
        if found:
            _note(folder, trail, found[0])
            return
        _let_settle(trail, settle_seconds)
    request = asking()
    trail.handed = request.by_url  # another number than before, where some of them have come here meanwhile
    trail.asked += 1
    trail.asked_at = clock.now()
    folder.keep(trail)
    try:
        run_id = server.run_workflow(request.fields, [(name, file) for name, file in request.attachments])
    except (NotSent, EngineRefused):
        trail.asked -= 1
        folder.keep(trail)
        raise
    _note(folder, trail, run_id)


def find(trail: Trail, server: WesServer) -> list[str]:
    """The server's runs that carry the tags of ours, those that were cancelled left aside.

    Raises:
        EngineRefused: it cannot tell.
        EngineUnreachable: it does not answer.
    """
    wanted = {RUN_TAG: str(trail.run_uuid), ATTEMPT_TAG: str(trail.attempt)}
    found: list[str] = []
    looked_into, any_run, any_tags = 0, False, False
    for run_id, entry in _entries(server):
        tags = entry.tags
        if tags is None:
            looked_into += 1
            if looked_into > _MOST_LOOKED_INTO:
                raise _cannot_tell("it has too many runs to look into each")
            tags = _tags_within(server, run_id)
        any_run, any_tags = True, any_tags or bool(tags)
        if wanted.items() <= tags.items() and entry.state != CANCELED:
            found.append(run_id)
    if any_run and not any_tags:  # ours may be among them
        raise _cannot_tell("none of its runs has tags")
    return found


def _entries(server: WesServer) -> Iterator[tuple[str, RunEntry]]:
    """All runs of the server, with their ids."""
    token = None
    for _ in range(_MOST_PAGES):
        try:
            page = server.runs(token)
        except EngineRefused as error:
            raise _cannot_tell(f"it does not list its runs ({error.reason})") from error
        if page.runs is None:
            raise _cannot_tell("its list of runs has not the form that the standard gives it")
        for entry in page.runs:
            if entry.run_id is None:
                raise _cannot_tell("its list has runs without an id")
            yield entry.run_id, entry
        token = page.next_page_token
        if not token:
            return
    raise _cannot_tell("its list of runs is too long")


def end_twins(trail: Trail, server: WesServer) -> None:
    """End what an asking without an answer started after all, beside the run that is followed."""
    for run_id in find(trail, server):
        state = server.status(run_id) if run_id != trail.run_id else None
        outcome = meaning(state) if state is not None else None
        if state is not None and (outcome is None or not outcome.is_terminal):
            logger.warning("run %s was started twice on the server; %s is ended", trail.run_uuid, run_id)
            server.cancel(run_id)


def _note(folder: WesFolder, trail: Trail, run_id: str) -> None:
    trail.run_id = run_id
    trail.submitted_at = clock.now()
    folder.keep(trail)


def _let_settle(trail: Trail, seconds: float) -> None:
    """Wait until what was sent has surely been taken, or has not."""
    if trail.asked_at is not None and clock.now() < trail.asked_at + timedelta(seconds=seconds):
        raise EngineUnreachable(NAME, "it did not answer when it was given the run, and may still be taking it")


def _tags_within(server: WesServer, run_id: str) -> dict[str, str]:
    """The tags that a run was given, where lists do not tell them."""
    try:
        tags = server.run_log(run_id).request.tags
    except NotThere:
        return {}
    return tags or {}


def _cannot_tell(why: str) -> EngineRefused:
    return EngineRefused(
        NAME,
        "it did not answer when it was given the run, and cannot be asked whether it took it: "
        f"{why}. Look there for a run that nobody expects before you submit it again",
    )
