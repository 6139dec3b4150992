"""Places elsewhere that people and groups registered, and the files there."""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from stemma.api.answers import HARMLESS, OCTETS, answer, disposition, file_answers
from stemma.api.dependencies import Caller, CredentialKeeper, Reader, RemoteWriter, group_of_scope
from stemma.api.error_responses import guarded
from stemma.api.progress import Followed, Work
from stemma.api.schemas.envelope import Envelope
from stemma.api.schemas.remotes import (
    CopyAsked,
    RemoteChange,
    RemoteFolderShown,
    RemoteGiven,
    RemotePath,
    RemotePlaceShown,
    RemoteShown,
    RemoteTestShown,
    WrittenShown,
    secrets,
)
from stemma.api.transfers import Download, Opened, Sent
from stemma.errors import Finding, InvalidRequest, TooLarge
from stemma.lifecycle import remotes_files as files
from stemma.lifecycle.remotes import CredentialScope, Remote
from stemma.storages.protocol import SourceInfo

router = APIRouter(prefix="/remotes", tags=["remote"])

_MOST_SHOWN: Final = 1000
_LONGEST_PATH: Final = 1024

_EVENTS: Final = (
    'event: progress\ndata: {"moved_bytes":1048576,"size_bytes":4194304}\n\n'
    'event: end\ndata: {"remote":"rain-data","path":"a.csv","size_bytes":4194304,"sha256":"9f86…","seconds":1.2}\n\n'
)

RemoteName = Annotated[str, Path(description="The remote's name.", examples=["rain-data"], max_length=64)]
FilePath = Annotated[
    str,
    Query(description="Where the file is on the remote.", min_length=1, max_length=_LONGEST_PATH, examples=["a/b.csv"]),
]
OwnScope = Annotated[CredentialScope, Query(description="Your own, or that of a group.")]
AnyScope = Annotated[
    CredentialScope | None, Query(description="Your own, or that of a group; your own before a group's without.")
]
GroupName = Annotated[str | None, Query(max_length=255, description="Which group, where you are in several.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which remote is meant."""

    name: str
    scope: CredentialScope | None
    group: str | None

    def found(self, caller: Caller) -> Remote:
        """The remote, when the caller may use it."""
        return caller.installation.remotes.find(caller.principal, self.name, scope=self.scope, group=self.group)


async def _wanted(remote: RemoteName, scope: AnyScope = None, group: GroupName = None) -> Wanted:
    return Wanted(remote, scope, group)


AnyRemote = Annotated[Wanted, Depends(_wanted)]


@router.get("", response_model=Envelope[list[RemoteShown]], responses=guarded())
def list_remotes(caller: Reader) -> Response:
    """Your remotes, and those of your groups."""
    shown = [RemoteShown.of(remote) for remote in caller.installation.remotes.known(caller.principal)]
    return answer(shown, f"{len(shown)} remotes")


@router.post("", response_model=Envelope[RemoteShown], responses=guarded(409, 413))
def add_remote(caller: CredentialKeeper, given: RemoteGiven) -> Response:
    """Register a place elsewhere, for yourself or for a group, with what it is to be shown.

    Credentials are sealed, and never given out again. For a group it is done by a member with the role `reprov_admin`.
    """
    group = _group(caller, given.scope, given.group)
    credentials = secrets(given.credentials) or {}
    made = caller.installation.remotes.add(
        caller.principal, given.name, given.kind.value, given.settings, credentials, group=group
    )
    return answer(RemoteShown.of(made), "the remote is registered")


@router.get("/{remote}", response_model=Envelope[RemoteShown], responses=guarded(404))
def show_remote(caller: Reader, remote: AnyRemote) -> Response:
    """One remote: its settings, and whether it has credentials."""
    return answer(RemoteShown.of(remote.found(caller)), "the remote")


@router.put("/{remote}", response_model=Envelope[RemoteShown], responses=guarded(404, 409))
def change_remote(caller: CredentialKeeper, remote: RemoteName, given: RemoteChange) -> Response:
    """Replace the settings of a remote, its credentials, or both.

    Credentials stay with the settings that they were given for: with other settings, give them anew.
    """
    group = _group(caller, given.scope, given.group)
    if given.settings is None and not given.credentials:
        message = "give settings, credentials, or both"
        raise InvalidRequest(message, [Finding(message, "request/missing")])
    changed = caller.installation.remotes.change(
        caller.principal, remote, group=group, settings=given.settings, credentials=secrets(given.credentials)
    )
    return answer(RemoteShown.of(changed), "the remote is changed")


@router.delete("/{remote}", response_model=Envelope[RemotePlaceShown], responses=guarded(404))
def delete_remote(
    caller: CredentialKeeper,
    remote: RemoteName,
    scope: OwnScope = CredentialScope.PERSON,
    group: GroupName = None,
) -> Response:
    """Forget a remote and its credentials. What lies there stays, and so does what came from there."""
    chosen = _group(caller, scope, group)
    caller.installation.remotes.remove(caller.principal, remote, group=chosen)
    return answer(RemotePlaceShown(name=remote, scope=scope, group=chosen), "the remote is forgotten")


@router.post(
    "/copy",
    response_model=Envelope[WrittenShown],
    responses=guarded(404, 409, 413)
    | {200: {"description": "what was copied", "content": {"text/event-stream": {"example": _EVENTS}}}},
)
async def copy_file(
    caller: RemoteWriter,
    asked: CopyAsked,
    follow: Annotated[bool, Query(description="Tell how far it is, as server-sent events.")] = False,
) -> Response:
    """Copy a file from one remote to another, or to another place on the same.

    It passes through this service, which keeps nothing of it. What lies at the target is replaced. With `follow`,
    `progress` events come while it goes on; the last is `end`, or `failed` with the envelope of the refusal.
    """

    def begun() -> files.Copying:
        source, target = (_place_of(caller, one) for one in (asked.source, asked.target))
        return files.to_copy(caller.installation, source, target)

    def copied(copying: files.Copying, moved: Callable[[int], None] | None = None) -> files.Written:
        return files.copy(caller.installation, caller.principal, copying, moved)

    transfers, subject = caller.service.transfers, caller.principal.subject
    if not follow:
        written = await transfers.asked(subject, lambda: copied(begun()))
        return answer(WrittenShown.of(written), f"copied {written.size_bytes} bytes")

    def opened() -> Work:
        copying = begun()
        return Work(copying.size_bytes, lambda moved: WrittenShown.of(copied(copying, moved)).model_dump(mode="json"))

    return Followed(transfers, subject, opened)


@router.post("/{remote}/test", response_model=Envelope[RemoteTestShown], responses=guarded(404))
async def try_remote(
    caller: RemoteWriter,
    remote: AnyRemote,
    path: Annotated[
        str, Query(description="A file to read from; the first that it lists without.", max_length=_LONGEST_PATH)
    ] = "",
) -> Response:
    """Try whether a remote answers, and lets a file be read. What is wrong with it is the answer, not a refusal."""

    def tried() -> files.Tested:
        return files.tried(caller.installation, caller.principal, remote.found(caller), path)

    tested = await caller.service.transfers.asked(caller.principal.subject, tried)
    return answer(RemoteTestShown.of(tested), "it works" if tested.problem is None else "it does not work")


@router.get("/{remote}/files", response_model=Envelope[RemoteFolderShown], responses=guarded(404, 409))
async def list_files(
    caller: Reader,
    remote: AnyRemote,
    path: Annotated[str, Query(description="A folder; all there is without.", max_length=_LONGEST_PATH)] = "",
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=_MOST_SHOWN)] = _MOST_SHOWN,
) -> Response:
    """The files in a folder of a remote, and in all folders below it."""

    def listed() -> files.Listing:
        place = files.place(caller.installation, caller.principal, remote.found(caller), path)
        return files.listing(place, limit)

    listing = await caller.service.transfers.asked(caller.principal.subject, listed)
    return answer(RemoteFolderShown.of(listing), f"{len(listing.files)} files")


@router.get("/{remote}/files/content", response_class=Response, responses=guarded(404, 409) | file_answers(OCTETS))
async def read_file(
    caller: Reader,
    remote: AnyRemote,
    path: FilePath,
) -> Response:
    """A file on a remote, as it comes from there."""

    def opened() -> Opened:
        place = files.place(caller.installation, caller.principal, remote.found(caller), path)
        info = place.info()
        held = ExitStack()
        return Opened(200, _headers(info), held.enter_context(place.read(info.version)), held)

    return Download(caller.service.transfers, caller.principal.subject, opened, OCTETS)


@router.put(
    "/{remote}/files/content",
    response_model=Envelope[WrittenShown],
    responses=guarded(404, 409, 413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def write_file(
    request: Request,
    caller: RemoteWriter,
    remote: AnyRemote,
    path: FilePath,
) -> Response:
    """Put a file on a remote: the body of the request, as it is. What lay there is replaced when all has come."""
    size = _announced(request, caller.installation.settings.max_upload_bytes)
    sent = Sent(request)

    def written() -> files.Written:
        place = files.place(caller.installation, caller.principal, remote.found(caller), path)
        return files.write(caller.installation, caller.principal, place, sent, size)

    done = await caller.service.transfers.asked(caller.principal.subject, written)
    return answer(WrittenShown.of(done), f"{done.size_bytes} bytes are there")


def _place_of(caller: Caller, named: RemotePath) -> files.Place:
    remote = Wanted(named.remote, None, named.group).found(caller)
    return files.place(caller.installation, caller.principal, remote, named.path)


def _headers(info: SourceInfo) -> dict[str, Any]:
    headers = {**HARMLESS, "Content-Disposition": disposition(info.basename)}
    if info.size_bytes is not None:
        headers["Content-Length"] = str(info.size_bytes)
    if info.version:
        headers["ETag"] = f'"v-{hashlib.sha256(info.version.encode()).hexdigest()[:32]}"'
    return headers


def _announced(request: Request, limit: int) -> int:
    """How many bytes the body has.

    Raises:
        InvalidRequest: it does not say so.
        TooLarge: more than may be uploaded.
    """
    length = request.headers.get("content-length", "")
    if not length.isascii() or not length.isdecimal():
        message = "say how long the file is with Content-Length: remotes want to know before it comes"
        raise InvalidRequest(message, [Finding(message, "request/length")])
    if int(length) > limit:
        raise TooLarge("the file", limit)
    return int(length)


def _group(caller: Caller, scope: CredentialScope, named: str | None) -> str | None:
    return group_of_scope(caller.principal, scope, named, "a remote of your own", "change the remotes of a group")
