"""Who asks: what a verified token says."""

import math
from dataclasses import dataclass, field
from uuid import UUID

from stemma.errors import Forbidden, GroupRequired
from stemma.records import Person


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose token was verified."""

    subject: str
    """The token's ``sub``: who it is, for ever."""
    username: str
    groups: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()
    expires_at: float = field(default=math.inf, compare=False)
    """When the token ends, in seconds since 1970: a stream that is still open then ends with it."""
    address: str | None = field(default=None, compare=False)
    """Where this request comes from, for the audit; None where that was not asked or is this machine's own socket."""
    request: UUID | None = field(default=None, compare=False)
    """Which request it is, for the audit."""

    @property
    def person(self) -> Person:
        """The caller as records name people."""
        return Person(self.subject, self.username)

    def group_for_writing(self, named: str | None) -> str:
        """The group that something new belongs to: the one ``named``, or the only one there is.

        Raises:
            GroupRequired: there is none, or several and none was named.
            Forbidden: the caller is not in the group that was named.
        """
        if named is not None:
            if named not in self.groups:
                raise Forbidden(f"you are not in a group {named!r}")
            return named
        if len(self.groups) != 1:
            raise GroupRequired(self.groups)
        return self.groups[0]
