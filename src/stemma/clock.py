"""Time and identity come through this door alone, so that tests can hold it."""

import os
import time
from datetime import UTC, datetime
from uuid import UUID


def now() -> datetime:
    """The current time, aware, in UTC, to the microsecond."""
    return datetime.now(UTC)


def new_uuid() -> UUID:
    """A fresh identifier whose order is the order of its making (RFC 9562 §5.7, UUID version 7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def isoformat(moment: datetime) -> str:
    """``moment`` as ISO 8601 in UTC with a ``Z``, to the microsecond.

    Raises:
        ValueError: ``moment`` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """The aware UTC time that ``text`` (ISO 8601 with a zone) names.

    Raises:
        ValueError: it is not a time, or has no zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)
