"""Everything that Stemma refuses or fails at, one class a reason.

    StemmaError
      NotAuthenticated        401   no valid token
      Forbidden               403   the role does not allow it
        AlreadyCaptured             the record of the run is sealed
      NotFound                404   no such thing, or not for this principal: no difference to be seen
        WorkflowNotFound
        RevisionNotFound
        RunNotFound
        FileNotFound
        StepNotFound
        CaptureNotFound
        EngineNotFound
        CredentialNotFound          nobody has shown an engine who they are
        RemoteNotFound
        PlaceholderNotFound         a placeholder of an input leads nowhere
        SourceNotFound              nothing lies at an address elsewhere
      InvalidRequest          422   what was asked cannot be understood
        GroupRequired               a writer in several groups must name one
        InvalidDocument             not valid CWL (findings)
        InvalidInputs               the inputs do not fit the workflow (findings)
        EngineUnsuitable            the engine cannot run this workflow (findings)
        UnknownEngine
        AddressRefused              an address elsewhere that this service does not ask
        SourceUnusable              what lies there cannot be taken
        SourceForbidden             its server does not give it to who we say we are
        DigestMismatch              what lies there is not what was expected
      DuplicateWorkflow       400   the group has this name and version
      AmbiguousSelection      403   both ways of naming runs to delete, or neither
      Conflict                409
        RunNotEnded                 asked for what only an ended run has
        RunEnded                    asked to stop what has ended
        EntryChanging               others change the entry all the time
        InputGone                   a file that the inputs name is not in the store any more
        SourceChanged               what lies elsewhere is not what it was
        RemoteExists                its owner has a remote of that name
        RemoteChanging              others change the remote at the same moment
      TooLarge                413   over a limit of size
      RangeUnsatisfiable      416   a part was asked for that lies behind the end
      Unavailable             503   come back later
        EngineUnreachable
        DatabaseUnavailable
        ValidatorUnavailable
        CredentialUnreadable        it was sealed with another key
        RemoteUnreadable            the same of the credentials of a remote
        StorageFull
        SourceUnavailable           a server elsewhere does not answer
        ArchiveUnavailable          the archive does not answer, or takes nothing
        TooManyFetches              as many submissions as may be look at inputs elsewhere
        TooManyTransfers            as many requests to remotes as may be are under way
      EngineRefused           503   the engine will not do it, however often it is asked
      DrawingFailed           500
      ContentDamaged          500   stored bytes do not have their digest
      ContentMissing          500   stored bytes are gone
      LeaseLost               —     another worker has the run now; never leaves the worker
      EngineLostRun           —     the engine does not know the run any more

Each carries the facts of its case as attributes. HTTP statuses are said here once and used by the
API alone; ``exit_code`` is what the command line ends with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a document, and where."""

    message: str
    """A sentence that a person can act on."""
    rule: str
    """A short stable name of what was broken, such as ``cwl/unknown-field``."""
    file: str | None = None
    """Path inside the bundle."""
    line: int | None = None
    """From 1."""
    column: int | None = None
    """From 1."""

    def __str__(self) -> str:
        """``file:line:column: message``, as editors understand it."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.message}" if place else self.message


class StemmaError(Exception):
    """Anything that Stemma says no to."""

    code: ClassVar[str] = "error"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    exit_code: ClassVar[int] = 1

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong in detail; empty where the message says it all."""
        return ()


class NotAuthenticated(StemmaError):
    """No token, or one that does not hold."""

    code, status, exit_code = "not-authenticated", HTTPStatus.UNAUTHORIZED, 77

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Forbidden(StemmaError):
    """The principal is known and may not do this."""

    code, status, exit_code = "forbidden", HTTPStatus.FORBIDDEN, 77


class AlreadyCaptured(Forbidden):
    """The provenance of this run was captured before; a sealed record does not change."""

    code = "already-captured"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"the provenance of execution {run_id} was captured before")
        self.run_id = run_id


class NotFound(StemmaError):
    """No such thing, or none that this principal may see (we do not tell which)."""

    code, status, exit_code = "not-found", HTTPStatus.NOT_FOUND, 66


class WorkflowNotFound(NotFound):
    """No such registry entry for this principal."""

    code = "workflow-not-found"

    def __init__(self, workflow_id: int | str) -> None:
        super().__init__(f"Invalid registry_id: there is no workflow {workflow_id}")
        self.workflow_id = workflow_id


class RevisionNotFound(NotFound):
    """The entry has no such revision."""

    code = "revision-not-found"

    def __init__(self, workflow_id: int, number: int) -> None:
        super().__init__(f"workflow {workflow_id} has no revision {number}")
        self.workflow_id, self.number = workflow_id, number


class RunNotFound(NotFound):
    """No such run for this principal."""

    code = "run-not-found"

    def __init__(self, run: int | str) -> None:
        super().__init__(f"there is no execution {run}")
        self.run = run


class StepNotFound(NotFound):
    """The run has no such step."""

    code = "step-not-found"

    def __init__(self, run_id: int, step: str) -> None:
        super().__init__(f"execution {run_id} has no step {step!r}")
        self.run_id, self.step = run_id, step


class FileNotFound(NotFound):
    """No such file entity for this principal."""

    code = "file-not-found"

    def __init__(self, file: int | str) -> None:
        super().__init__(f"there is no file {file}")
        self.file = file


class CaptureNotFound(NotFound):
    """The run has no sealed record."""

    code = "capture-not-found"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"the provenance of execution {run_id} was not captured")
        self.run_id = run_id


class EngineNotFound(NotFound):
    """No engine of that name is set up here."""

    code = "engine-not-found"

    def __init__(self, engine: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no engine {engine!r}; set up here: {', '.join(known)}")
        self.engine, self.known = engine, tuple(known)


class CredentialNotFound(NotFound):
    """Neither this person nor this group has a credential for the engine here."""

    code = "credential-not-found"

    def __init__(self, engine: str, whose: str) -> None:
        super().__init__(f"there is no credential of {whose} for engine {engine!r}")
        self.engine, self.whose = engine, whose


class RemoteNotFound(NotFound):
    """Neither this person nor a group of theirs has a remote of that name."""

    code = "remote-not-found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no remote {name!r}")
        self.name = name


class PlaceholderNotFound(NotFound):
    """A ``valueFromPlatform`` or ``valueFromEntity`` leads nowhere."""

    code = "placeholder-not-found"

    def __init__(self, port: str, placeholder: str) -> None:
        super().__init__(f"Invalid entity id in placeholder: input {port!r} names {placeholder!r}")
        self.port, self.placeholder = port, placeholder


class SourceNotFound(NotFound):
    """Nothing lies at an address elsewhere, or its name leads to nothing that may be asked (we do not tell which)."""

    code = "source-not-found"

    def __init__(self, what: str) -> None:
        super().__init__(f"there is nothing at the address of {what}")
        self.what = what


class InvalidRequest(StemmaError):
    """What was asked cannot be understood or done as asked."""

    code, status, exit_code = "invalid-request", HTTPStatus.UNPROCESSABLE_ENTITY, 64

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self._findings = tuple(findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, thing by thing."""
        return self._findings


class GroupRequired(InvalidRequest):
    """The principal is in several groups, or in none, and did not say for which it writes."""

    code = "group-required"

    def __init__(self, groups: Sequence[str]) -> None:
        known = ", ".join(sorted(groups))
        super().__init__(
            f"name the group to write for with 'group': one of {known}"
            if groups
            else "you are in no group; ask for membership in one before you register or run workflows",
        )
        self.groups = tuple(groups)


class InvalidDocument(InvalidRequest):
    """The document is not CWL that can be registered."""

    code, exit_code = "invalid-document", 65

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(_summary("the workflow is not valid", findings), findings)


class InvalidInputs(InvalidRequest):
    """The inputs do not fit the workflow."""

    code, exit_code = "invalid-inputs", 65

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(_summary("the inputs do not fit the workflow", findings), findings)


class EngineUnsuitable(InvalidRequest):
    """The engine cannot run this workflow faithfully."""

    code, exit_code = "engine-unsuitable", 33

    def __init__(self, engine: str, findings: Sequence[Finding]) -> None:
        super().__init__(_summary(f"engine {engine!r} cannot run this workflow", findings), findings)
        self.engine = engine


class UnknownEngine(InvalidRequest):
    """No engine of that name is set up here."""

    code = "unknown-engine"

    def __init__(self, engine: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no engine {engine!r}; set up here: {', '.join(known)}")
        self.engine, self.known = engine, tuple(known)


class AddressRefused(InvalidRequest):
    """An address that this service does not ask. The words are the same for every reason."""

    code, exit_code = "address-refused", 65

    def __init__(self, what: str) -> None:
        message = (
            f"this service does not fetch from the address of {what}: it must be that of a public server, or of one "
            "that the operators allow, by https, at the usual port, without user name and password"
        )
        super().__init__(message, [Finding(message, "inputs/address-refused")])
        self.what = what


class SourceUnusable(InvalidRequest):
    """What lies at an address elsewhere cannot be taken."""

    code, exit_code = "source-unusable", 65

    def __init__(self, what: str, reason: str) -> None:
        message = f"{what} cannot be fetched: {reason}"
        super().__init__(message, [Finding(message, "inputs/source-unusable")])
        self.what, self.reason = what, reason


class SourceForbidden(InvalidRequest):
    """The server of an address elsewhere wants a credential, or does not accept the one that it was shown."""

    code, exit_code = "source-forbidden", 77

    def __init__(self, what: str) -> None:
        message = (
            f"{what} cannot be had: its server does not give it to everybody, and does not accept the credential of "
            "the remote, if there is one"
        )
        super().__init__(message, [Finding(message, "inputs/source-forbidden")])
        self.what = what


class DigestMismatch(InvalidRequest):
    """What came from elsewhere does not have the digest that was expected of it."""

    code, exit_code = "digest-mismatch", 65

    def __init__(self, what: str, expected: str, found: str) -> None:
        message = f"{what} is not what was expected: its digest is {found}, not {expected}"
        super().__init__(message, [Finding(message, "inputs/digest-mismatch")])
        self.what, self.expected, self.found = what, expected, found


class DuplicateWorkflow(StemmaError):
    """The group already has an entry of this name and version."""

    code, status, exit_code = "duplicate-workflow", HTTPStatus.BAD_REQUEST, 73

    def __init__(self, name: str, version: str) -> None:
        super().__init__(f"a workflow {name!r} version {version!r} is registered already; choose another version")
        self.name, self.version = name, version


class AmbiguousSelection(StemmaError):
    """Both ways of naming what to delete were given, or neither."""

    code, status, exit_code = "ambiguous-selection", HTTPStatus.FORBIDDEN, 64

    def __init__(self) -> None:
        super().__init__("give either registry_id or reana_name, not both and not neither")


class Conflict(StemmaError):
    """Not in the state that the thing is in."""

    code, status, exit_code = "conflict", HTTPStatus.CONFLICT, 75


class RunNotEnded(Conflict):
    """The run still goes on."""

    code = "run-not-ended"

    def __init__(self, run_id: int, state: str) -> None:
        super().__init__(f"execution {run_id} is {state}; wait until it has ended")
        self.run_id, self.state = run_id, state


class RunEnded(Conflict):
    """The run has ended already."""

    code = "run-ended"

    def __init__(self, run_id: int, state: str) -> None:
        super().__init__(f"execution {run_id} has ended already: {state}")
        self.run_id, self.state = run_id, state


class EntryChanging(Conflict):
    """Others change the entry all the time."""

    code = "entry-changing"

    def __init__(self, workflow_id: int) -> None:
        super().__init__(f"workflow {workflow_id} is being changed by others; look at it, and try again")
        self.workflow_id = workflow_id


class InputGone(Conflict):
    """A file of this service that the inputs of a run name is not in the store any more: dropped, or lost."""

    code = "input-gone"

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"a file that the inputs name, with SHA-256 {sha256}, is not in the store any more; name the address "
            "elsewhere that it came from, or send it along"
        )
        self.sha256 = sha256


class SourceChanged(Conflict):
    """What lies at an address elsewhere is not what it was when it was looked at."""

    code = "source-changed"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} has changed since it was looked at; what was read of the older one is not used")
        self.what = what


class RemoteExists(Conflict):
    """Its owner has a remote of that name already."""

    code, exit_code = "remote-exists", 73

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a remote {name!r} already; choose another name, give it new credentials (stemma remote login "
            f"{name}), or delete it first"
        )
        self.name = name


class RemoteChanging(Conflict):
    """Others have changed or deleted the remote at the same moment."""

    code = "remote-changing"

    def __init__(self, name: str) -> None:
        super().__init__(f"the remote {name!r} was changed by others at the same moment; look at it, and try again")
        self.name = name


class TooLarge(StemmaError):
    """Over a limit of size."""

    code, status, exit_code = "too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 65

    def __init__(self, what: str, limit: int, unit: str = "bytes") -> None:
        super().__init__(f"{what} is over the limit of {limit} {unit}")
        self.what, self.limit, self.unit = what, limit, unit


class RangeUnsatisfiable(StemmaError):
    """A part of a file was asked for that it does not have."""

    code, status, exit_code = "range-unsatisfiable", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 64

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes; ask for a part that begins before its end, or for all of it")
        self.size = size


class Unavailable(StemmaError):
    """Something that is needed does not answer; try again later."""

    code, status, exit_code = "unavailable", HTTPStatus.SERVICE_UNAVAILABLE, 69
    retry_after_seconds: ClassVar[int] = 5


class EngineUnreachable(Unavailable):
    """The engine does not answer; the run is not lost."""

    code = "engine-unreachable"

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"engine {engine!r} cannot be reached: {reason}")
        self.engine, self.reason = engine, reason


class EngineRefused(StemmaError):
    """The engine will not do it, however often it is asked: the credential is wrong, a quota is used up."""

    code, status = "engine-refused", HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"engine {engine!r} refused: {reason}")
        self.engine, self.reason = engine, reason


class DatabaseUnavailable(Unavailable):
    """The database is locked or gone."""

    code = "database-unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__("the database does not answer; nothing was changed, try again in some seconds")
        self.reason = reason


class ValidatorUnavailable(Unavailable):
    """The helper process that reads CWL did not answer."""

    code = "validator-unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the document could not be checked: {reason}")
        self.reason = reason


class CredentialUnreadable(Unavailable):
    """A credential is kept here that was sealed with another key."""

    code = "credential-unreadable"

    def __init__(self, engine: str, whose: str) -> None:
        super().__init__(
            f"the credential of {whose} for engine {engine!r} cannot be opened: it was sealed with another key. Either "
            "the operators put that key back (STEMMA_SECRET_KEY, or the folder keys of the data folder), or it is "
            f"given anew: stemma engine login {engine}"
        )
        self.engine, self.whose = engine, whose


class RemoteUnreadable(Unavailable):
    """The credentials of a remote were sealed with another key."""

    code = "remote-unreadable"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the credentials of the remote {name!r} cannot be opened: they were sealed with another key. Either the "
            "operators put that key back (STEMMA_SECRET_KEYS_BEFORE, or the folder keys of the data folder), or they "
            f"are given anew: stemma remote login {name}"
        )
        self.name = name


class StorageFull(Unavailable):
    """No space is left where contents are kept."""

    code = "storage-full"

    def __init__(self) -> None:
        super().__init__(
            "the service has no space left to keep files; nothing was changed, try again when there is some"
        )


class SourceUnavailable(Unavailable):
    """A server elsewhere does not answer, or not in time."""

    code = "source-unavailable"
    retry_after_seconds = 30

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} cannot be fetched now: its server does not give it, or not in time; try again later, "
            "or download the file and send it along"
        )
        self.what, self.reason = what, reason


class ArchiveUnavailable(Unavailable):
    """The archive, where outputs and uploads are kept for good, does not answer, or does not do what it is asked."""

    code = "archive-unavailable"
    retry_after_seconds = 30

    def __init__(self, reason: str) -> None:
        super().__init__(
            "the archive, where the service keeps files for good, does not answer as it should; nothing is lost, try "
            "again later. Its operators have to see to it if it stays so: stemma doctor tells them more"
        )
        self.reason = reason


class TooManyFetches(Unavailable):
    """As many submissions as may be look at their inputs elsewhere."""

    code = "too-many-fetches"

    def __init__(self) -> None:
        super().__init__("many submissions look at inputs elsewhere at the moment; try again in some seconds")


class TooManyTransfers(Unavailable):
    """As many requests to remotes as may be are under way, of all or of this person."""

    code = "too-many-transfers"

    def __init__(self) -> None:
        super().__init__("as many remotes as may be are being asked at the moment; try again in some seconds")


class DrawingFailed(StemmaError):
    """The picture could not be made."""

    code = "drawing-failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the picture could not be drawn: {reason}")
        self.reason = reason


class ContentDamaged(StemmaError):
    """Bytes do not have the digest that they are known by."""

    code = "content-damaged"

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"content {expected} has the digest {found}")
        self.expected, self.found = expected, found


class ContentMissing(StemmaError):
    """The store does not hold these bytes any more."""

    code = "content-missing"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"content {sha256} is not in the store")
        self.sha256 = sha256


class LeaseLost(StemmaError):
    """Another worker has this run now; what this one knows of it is void."""

    code = "lease-lost"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"the lease of run {run_id} is lost")
        self.run_id = run_id


class EngineLostRun(StemmaError):
    """The engine does not know the run any more (its process died, say)."""

    code = "engine-lost-run"

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(f"the engine lost run {reference}: {reason}")
        self.reference, self.reason = reference, reason


def _summary(what: str, findings: Sequence[Finding]) -> str:
    """``what`` with the first finding, and how many more there are."""
    if not findings:
        return what
    more = len(findings) - 1
    return f"{what}: {findings[0]}" + (f" (and {more} more)" if more else "")
