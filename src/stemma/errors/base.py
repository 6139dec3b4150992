"""What every error of Stemma is."""

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


def summary(what: str, findings: Sequence[Finding]) -> str:
    """``what`` with the first finding, and how many more there are."""
    if not findings:
        return what
    more = len(findings) - 1
    return f"{what}: {findings[0]}" + (f" (and {more} more)" if more else "")
