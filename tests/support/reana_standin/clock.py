"""The server's own clock: no zone, and wrong where it is told to be."""

from datetime import UTC, datetime, timedelta

from support.reana_standin.faults import Faults

_FORMAT = "%Y-%m-%dT%H:%M:%S"


class Clock:
    """What time the server believes it is."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def now(self) -> datetime:
        """Local time, which is UTC in REANA's images, without a zone."""
        return self.shifted(datetime.now(UTC))

    def shifted(self, moment: datetime) -> datetime:
        """The same moment by the server's clock."""
        return moment.astimezone(UTC).replace(tzinfo=None) + timedelta(seconds=self._faults.clock_skew_seconds)


def shown(moment: datetime | None) -> str | None:
    """A time as REANA writes it."""
    return None if moment is None else moment.strftime(_FORMAT)
