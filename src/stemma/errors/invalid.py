"""What was asked cannot be understood, or cannot be done as it was asked."""

from collections.abc import Sequence
from http import HTTPStatus

from stemma.errors.base import Finding, StemmaError, summary


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
        super().__init__(summary("the workflow is not valid", findings), findings)


class InvalidInputs(InvalidRequest):
    """The inputs do not fit the workflow."""

    code, exit_code = "invalid-inputs", 65

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(summary("the inputs do not fit the workflow", findings), findings)


class EngineUnsuitable(InvalidRequest):
    """The engine cannot run this workflow faithfully."""

    code, exit_code = "engine-unsuitable", 33

    def __init__(self, engine: str, findings: Sequence[Finding]) -> None:
        super().__init__(summary(f"engine {engine!r} cannot run this workflow", findings), findings)
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
