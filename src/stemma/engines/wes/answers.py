"""What a WES server may answer, read with care: versions 1.0 and 1.1, and the ways in which servers differ from them.

What has the wrong form counts as not said; only what nothing can be done without is an error.
"""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from stemma.engines.wes.states import UNKNOWN
from stemma.records import Json

_ID_CHARACTERS = 500
_WORDS = 20_000
_MILLISECONDS_FROM = 1e11
"""As seconds that would be the year 5138."""
_NUMBER = re.compile(r"-?\d{1,19}(\.\d{1,9})?")
_EXIT_CODES = range(-(2**31), 2**31)


def _identifier(value: Any) -> Any:
    """Ids come as text and as numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= _ID_CHARACTERS and value.isprintable() else None


def _text(value: Any) -> Any:
    return value if isinstance(value, str) and value else None


def _state(value: Any) -> str:
    return value.strip().upper()[:64] if isinstance(value, str) else UNKNOWN


def _words(value: Any) -> tuple[str, ...]:
    """A command comes as a list of words, and as one text."""
    if isinstance(value, str):
        value = [value]
    return tuple(word for word in value[:_WORDS] if isinstance(word, str) and word) if isinstance(value, list) else ()


def _exit_code(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _EXIT_CODES else None


def moment(value: Any) -> datetime | None:
    """The time that ``value`` names, in UTC: ISO 8601 with a zone or without one (then it is UTC), seconds or
    milliseconds since 1970, or the form of HTTP headers. None when it is none of these.
    """
    try:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            return _moment_of_text(value.strip())
        if isinstance(value, str | int | float) and not isinstance(value, bool) and math.isfinite(float(value)):
            seconds = float(value)
            return datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS_FROM else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _moment_of_text(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        found = parsedate_to_datetime(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _tags(value: Any) -> Any:
    return {str(key): str(tag) for key, tag in value.items()} if isinstance(value, dict) else None


def _dicts(value: Any) -> Any:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else None


def _dict(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


_Id = Annotated[str | None, BeforeValidator(_identifier)]
_Text = Annotated[str | None, BeforeValidator(_text)]
_Moment = Annotated[datetime | None, BeforeValidator(moment)]
_Tags = Annotated[dict[str, str] | None, BeforeValidator(_tags)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Log(_Answer):
    """Of the run or of a task."""

    id: _Id = None
    name: _Text = None
    cmd: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    start_time: _Moment = None
    end_time: _Moment = None
    stdout: _Text = None
    """A URL by the standard, on some servers the text itself."""
    stderr: _Text = None
    exit_code: Annotated[int | None, BeforeValidator(_exit_code)] = None


class RunRequest(_Answer):
    """What the server was asked to run."""

    tags: _Tags = None


class RunLog(_Answer):
    """Everything that a server says of a run."""

    state: Annotated[str, BeforeValidator(_state)] = UNKNOWN
    request: Annotated[RunRequest, BeforeValidator(_dict)] = RunRequest()
    run_log: Annotated[Log, BeforeValidator(_dict)] = Log()
    task_logs: Annotated[list[Log] | None, BeforeValidator(_dicts)] = None
    task_logs_url: _Text = None
    outputs: Json = None


class RunEntry(_Answer):
    """A run in a list."""

    run_id: _Id = Field(default=None, validation_alias=AliasChoices("run_id", "workflow_id", "id"))
    state: Annotated[str, BeforeValidator(_state)] = UNKNOWN
    tags: _Tags = None
    """None where the server's lists do not tell them."""


class RunPage(_Answer):
    """A page of the list of runs."""

    runs: Annotated[list[RunEntry] | None, BeforeValidator(_dicts)] = Field(
        default=None, validation_alias=AliasChoices("runs", "workflows")
    )
    next_page_token: _Text = None


class TaskPage(_Answer):
    """A page of the tasks of a run."""

    tasks: Annotated[list[Log] | None, BeforeValidator(_dicts)] = Field(
        default=None, validation_alias=AliasChoices("task_logs", "tasks")
    )
    next_page_token: _Text = None


class ServiceInfo(_Answer):
    """What the server says of itself."""

    version: _Text = None
    name: _Text = None
    id: _Text = None
    workflow_type_versions: Annotated[dict[str, Json], BeforeValidator(_dict)] = {}
    workflow_engine_versions: Annotated[dict[str, Json], BeforeValidator(_dict)] = {}
    supported_wes_versions: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()

    @property
    def cwl_versions(self) -> list[str] | None:
        """The versions of CWL that it runs; None when it does not say, empty when it runs no CWL."""
        if not self.workflow_type_versions:
            return None
        found = [value for key, value in self.workflow_type_versions.items() if key.upper() == "CWL"]
        if not found:
            return []
        versions = found[0].get("workflow_type_version") if isinstance(found[0], dict) else found[0]
        return list(_words(versions)) or None
