"""What the mover is told, and what it tells. Sizes in bytes, rates in bytes a second."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from stemma.planning.situation import StreamRate
from stemma.records import Content, Json
from stemma.storages.protocol import Storage

GIBIBYTE: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Order:
    """A file to bring."""

    key: str
    storage: Storage
    address: str
    version: str
    """At which it is wanted; empty where its server tells nothing to go by: then one stream, and nothing is resumed."""
    size_bytes: int | None
    link: str
    """Which streams, bandwidth and connections it shares with others."""
    expected_sha256: str | None = None
    expected_md5: str | None = None
    """The source's own word."""
    expected_sha1: str | None = None
    """In lower case; what CWL calls the checksum of a File."""
    takes_ranges: bool = True
    what: str = ""
    """How messages name it."""
    trusted_as: str = "given"
    """What :attr:`Moved.verified` says where it has ``expected_sha256``."""

    @property
    def shown(self) -> str:
        """How messages name it; never with the query of its address, which may be a key to it."""
        return self.what or self.address.partition("?")[0]

    @property
    def can_be_resumed(self) -> bool:
        """Whether a part of it can be asked for, and belongs to the parts that came before."""
        return self.takes_ranges and bool(self.version)


@dataclass(frozen=True, slots=True)
class Moved:
    """A file that is in the store now."""

    content: Content
    version: str
    """At which it came: another one than ordered where the source had changed."""
    told: dict[str, Json]
    """What the source said of itself when it was asked anew, after a change; else empty."""
    moved_bytes: int
    """What came over the network for it, in this process, what came twice included."""
    started_at: datetime
    ended_at: datetime
    verified: str
    """``given`` (or :attr:`Order.trusted_as`), ``source`` (its MD5), ``first use`` (nothing to compare with)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for all files and links."""

    max_bytes: int = 5 * 1024 * GIBIBYTE
    """Of a file whose size its source does not tell."""
    connections: int = 64
    """To one link at once, whatever was asked for."""
    silence_seconds: float = 60.0
    """A stream that brings less than a byte a second for so long is given up."""
    tries: int = 5
    """How often a source that does not answer is asked before its file is given up."""
    pause_seconds: float = 0.5
    """The first pause before it is asked again; doubled each time, and never quite the same."""
    restarts: int = 3
    """How often a file is begun anew whose source changes meanwhile."""
    close_seconds: float = 1.5
    """How long what is at work may take to its end when the mover is closed."""


@dataclass(frozen=True, slots=True)
class LinkRates:
    """What was seen of a link: what ``planning.situation.LinkState`` wants to know."""

    bytes_per_second: float | None = None
    """Lately, all streams together; None before anything came."""
    rates: tuple[StreamRate, ...] = ()
    """By number of streams at work."""
    seconds_per_request: float = 0.0
    by_streams: dict[int, float] = field(default_factory=dict)
    """``rates``, as bytes a second."""
