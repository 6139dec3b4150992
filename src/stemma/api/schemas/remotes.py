"""Remotes and the files on them, as the API takes and shows them. No secret is ever shown."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from stemma.api.schemas.envelope import Answer
from stemma.lifecycle.remotes import CredentialScope, Remote
from stemma.lifecycle.remotes_files import Listing, Tested, Written
from stemma.storages.protocol import SourceInfo

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class RemoteKind(StrEnum):
    """What speaks at a remote."""

    S3 = "s3"
    GS = "gs"
    AZ = "az"
    HTTPS = "https"
    RCLONE = "rclone"
    FILE = "file"


_GROUP_CHARACTERS: Final = 255
_MOST_FIELDS: Final = 30
_LONGEST_SETTING: Final = 2048
_LONGEST_SECRET: Final = 16 * 1024


@cache
def _fields() -> frozenset[str]:
    """Every field that a setting or a secret of any kind has."""
    from stemma.storages.kinds import KINDS, RCLONE_TYPES  # noqa: PLC0415 - loaded when there is a remote

    kinds = [*KINDS.values(), *RCLONE_TYPES.values()]
    return frozenset().union(*(kind.settings | kind.secrets for kind in kinds))


def _texts(longest: int) -> BeforeValidator:
    """Names with texts, and nothing else. Refused as a whole: a name that somebody wrote may be a secret itself."""

    def checked(given: Any) -> Any:
        if not isinstance(given, dict) or len(given) > _MOST_FIELDS:
            raise ValueError(f"it must be an object with {_MOST_FIELDS} fields at most")
        for name, value in given.items():
            if name not in _fields():
                raise ValueError("a field has a name that none has, whatever the kind; see the page on remotes")
            if not isinstance(value, str) or not 0 < len(value) <= longest or "\x00" in value:
                raise ValueError(f"each value must be text of 1 to {longest} characters")
        return given

    return BeforeValidator(checked)


Settings = Annotated[dict[str, str], _texts(_LONGEST_SETTING)]
Credentials = Annotated[dict[str, SecretStr], _texts(_LONGEST_SECRET)]
_SCOPE: Final[Any] = Field(
    default=CredentialScope.PERSON, description="For yourself, or for a group.", examples=["person"]
)
_GROUP: Final[Any] = Field(
    default=None, max_length=_GROUP_CHARACTERS, description="Which group, where you are in several.", examples=[None]
)


class RemoteGiven(BaseModel):
    """A place elsewhere, to be registered."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=NAME_PATTERN, description="What you call it.", examples=["rain-data"])
    kind: RemoteKind = Field(description="What speaks there.", examples=["s3"])
    settings: Settings = Field(
        description="Where it is, in the words of its kind. They are shown.",
        examples=[{"bucket": "rain", "region": "eu-central-1"}],
    )
    credentials: Credentials = Field(
        default={},
        description="What it is shown, in the words of its kind. Sealed, and never given out again.",
        examples=[{"access_key_id": "example-id", "secret_access_key": "example-secret"}],
    )
    scope: CredentialScope = _SCOPE
    group: str | None = _GROUP


class RemoteChange(BaseModel):
    """What replaces a remote's settings, its credentials, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    settings: Settings | None = Field(
        default=None,
        description="All of them; where it has credentials, give those anew too.",
        examples=[{"bucket": "rain", "region": "eu-west-1"}],
    )
    credentials: Credentials | None = Field(
        default=None,
        description="All of them.",
        examples=[{"access_key_id": "example-id", "secret_access_key": "example-secret"}],
    )
    scope: CredentialScope = _SCOPE
    group: str | None = _GROUP


class RemotePath(BaseModel):
    """A file on a remote."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    remote: str = Field(pattern=NAME_PATTERN, examples=["rain-data"])
    path: str = Field(min_length=1, max_length=1024, examples=["2014/january.csv"])
    group: str | None = Field(
        default=None,
        max_length=_GROUP_CHARACTERS,
        description="Whose remote, where it is a group's and you have one of that name as well.",
        examples=[None],
    )


class CopyAsked(BaseModel):
    """A file on one remote that is to lie on another as well."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: RemotePath
    target: RemotePath


class RemoteShown(Answer):
    """A registered place, and nothing of its credentials."""

    name: str = Field(examples=["rain-data"])
    kind: str = Field(examples=["s3"])
    scope: CredentialScope = Field(examples=["person"])
    group: str | None = Field(description="Null for your own.", examples=[None])
    settings: dict[str, str] = Field(examples=[{"bucket": "rain", "region": "eu-central-1"}])
    has_credentials: bool = Field(examples=[True])
    created_by: str = Field(description="Who registered it.", examples=["user_1"])
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, remote: Remote) -> "RemoteShown":
        """What is shown of ``remote``."""
        return cls(
            name=remote.name,
            kind=remote.kind,
            scope=remote.scope,
            group=remote.group,
            settings=dict(remote.settings),
            has_credentials=remote.sealed is not None,
            created_by=remote.created_by.username,
            created_at=remote.created_at,
            updated_at=remote.updated_at,
        )


class RemotePlaceShown(Answer):
    """Which remote of whom was forgotten."""

    name: str = Field(examples=["rain-data"])
    scope: CredentialScope = Field(examples=["person"])
    group: str | None = Field(description="Null for your own.", examples=[None])


class RemoteFileShown(Answer):
    """A file on a remote."""

    path: str = Field(description="Below the folder that was asked for.", examples=["2014/january.csv"])
    size_bytes: int | None = Field(description="Null where it is not told.", examples=[1523])
    sha256: str | None = Field(description="Where the remote tells it.", examples=[None])
    md5: str | None = Field(description="Where the remote tells it.", examples=[None])
    told: dict[str, Any] = Field(
        description="What else the remote tells: `etag`, `last_modified`, `version_id`.", examples=[{"etag": '"a1"'}]
    )

    @classmethod
    def of(cls, path: str, info: SourceInfo) -> "RemoteFileShown":
        """What is shown of the file at ``path``."""
        return cls(path=path, size_bytes=info.size_bytes, sha256=info.sha256, md5=info.md5, told=dict(info.told))


class RemoteFolderShown(Answer):
    """The files in a folder of a remote."""

    items: list[RemoteFileShown]
    is_cut: bool = Field(description="Whether there are more.", examples=[False])

    @classmethod
    def of(cls, listing: Listing) -> "RemoteFolderShown":
        """What is shown of ``listing``."""
        return cls(items=[RemoteFileShown.of(one.path, one.info) for one in listing.files], is_cut=listing.is_cut)


class RemoteTestShown(Answer):
    """What became of a try."""

    works: bool = Field(examples=[True])
    problem: str | None = Field(description="Why it does not.", examples=[None])
    problem_code: str | None = Field(description="The same for programs.", examples=[None])
    found: RemoteFileShown | None = Field(description="A file that is there, whose beginning was read.")
    seconds: float = Field(description="How long it took.", examples=[0.12])

    @classmethod
    def of(cls, tested: Tested) -> "RemoteTestShown":
        """What is shown of ``tested``."""
        found = None if tested.found is None else RemoteFileShown.of(tested.found.path, tested.found.info)
        return cls(
            works=tested.problem is None,
            problem=None if tested.problem is None else str(tested.problem),
            problem_code=None if tested.problem is None else tested.problem.code,
            found=found,
            seconds=tested.seconds,
        )


class WrittenShown(Answer):
    """A file that lies on a remote now."""

    remote: str = Field(examples=["rain-data"])
    path: str = Field(examples=["2014/january.csv"])
    size_bytes: int = Field(examples=[1523])
    sha256: str = Field(description="Of what was sent.", examples=["9f86d081884c7d65…"])
    seconds: float = Field(examples=[0.31])

    @classmethod
    def of(cls, written: Written) -> "WrittenShown":
        """What is shown of ``written``."""
        return cls(
            remote=written.remote,
            path=written.path,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            seconds=written.seconds,
        )


def secrets(given: Mapping[str, SecretStr] | None) -> dict[str, SecretStr] | None:
    """The credentials that were given, without white space around them; None where none were."""
    if given is None:
        return None
    return {name: SecretStr(secret.get_secret_value().strip()) for name, secret in given.items()}
