"""Something that is needed does not answer, or has no room: mostly to be asked again later."""

from http import HTTPStatus
from typing import ClassVar

from stemma.errors.base import StemmaError


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
    """As many submissions as may be look at their inputs elsewhere, or read files for their digests."""

    code = "too-many-fetches"

    def __init__(self, doing: str = "look at inputs elsewhere") -> None:
        super().__init__(f"many submissions {doing} at the moment; try again in some seconds")
        self.doing = doing


class TooManyTransfers(Unavailable):
    """As many requests to remotes as may be are under way, of all or of this person."""

    code = "too-many-transfers"

    def __init__(self) -> None:
        super().__init__("as many remotes as may be are being asked at the moment; try again in some seconds")
