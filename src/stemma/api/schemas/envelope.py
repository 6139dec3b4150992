"""The envelope of every JSON answer."""

from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from stemma.errors import Finding

T = TypeVar("T")

Shown: TypeAlias = dict[str, Any]
"""What a model of this package describes, made without it: answers that are asked a thousand times a second are not
checked on their way out. The tests hold them against the models."""


class Answer(BaseModel):
    """What every model of an answer has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Envelope(Answer, Generic[T]):
    """A successful answer."""

    success: bool = Field(default=True, examples=[True])
    code: int = Field(default=200, examples=[200], description="The HTTP status.")
    message: str = Field(examples=["what was done, in a sentence for people"], description="A sentence for people.")
    data: T
    error_code: int | None = Field(default=None, examples=[None], description="Null on success.")


class FindingShown(Answer):
    """One thing that is wrong, and where."""

    message: str = Field(
        description="A sentence that a person can act on.", examples=["the input 'station' is used by no step"]
    )
    rule: str = Field(description="A short stable name of what was broken.", examples=["cwl/unused-input"])
    file: str | None = Field(default=None, description="Path inside the document that was sent.")
    line: int | None = Field(default=None, description="From 1.")
    column: int | None = Field(default=None, description="From 1.")
    parameter: str | None = Field(default=None, description="The parameter of the request, where one is wrong.")

    @classmethod
    def of(cls, finding: Finding) -> "FindingShown":
        """What is shown of ``finding``."""
        return cls(
            message=finding.message,
            rule=finding.rule,
            file=finding.file,
            line=finding.line,
            column=finding.column,
        )


class ErrorEnvelope(Answer):
    """A refusal."""

    success: bool = False
    code: int = Field(examples=[404], description="The HTTP status.")
    message: str = Field(examples=["Invalid registry_id: there is no workflow 7"], description="A sentence for people.")
    data: list[FindingShown] | dict[str, object] | None = Field(
        default=None, description="What is wrong in detail; null where the message says it all."
    )
    error_code: int = Field(examples=[404], description="The HTTP status once more.")


class TokenRefusal(ErrorEnvelope):
    """A refusal that OAuth clients understand as well (RFC 6749 §5.2)."""

    error: str = Field(examples=["invalid_grant"])
    error_description: str = Field(examples=["wrong username or password"])


class Page(Answer, Generic[T]):
    """A part of a list."""

    items: list[T] = Field(description="Newest first.")
    next_cursor: str | None = Field(
        default=None, examples=["djE6Nw"], description="Give it back as ``cursor`` for the next part; null at the end."
    )
