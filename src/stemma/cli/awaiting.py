"""What a run waits for from elsewhere, in words and bars; and looking after it while the run is watched."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from stemma.cli.console import lasting, short_time, sized, visible
from stemma.client.arrivals import AwaitedFile, Replication
from stemma.errors import StemmaError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stemma.client import Client

LINES: Final = 3
"""How many files are told of while a run is watched."""
_LOOK_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 5.0
_SAY_AGAIN_SECONDS: Final = 30.0
_BAR_WIDTH: Final = 28
_FRESH: Final = 0.5
"""How much the newest speed counts against those before."""


class Speeds:
    """How fast files come, from one look to the next: of those of which the service does not know it."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}
        self._speeds: dict[int, float] = {}

    def look(self, found: Replication, now: float) -> None:
        """Take in what has come by ``now``, in seconds."""
        for file in found.awaited:
            before = self._seen.get(file.id)
            if before is None or file.moved_bytes < before[0] or file.state != "moving":
                self._speeds.pop(file.id, None)
            elif file.moved_bytes == before[0]:
                continue  # it is written down every few seconds
            elif before[0]:  # what an earlier transfer had left may be in the first figure
                speed = (file.moved_bytes - before[0]) / max(now - before[1], 0.001)
                self._speeds[file.id] = _FRESH * speed + (1 - _FRESH) * self._speeds.get(file.id, speed)
            self._seen[file.id] = file.moved_bytes, now

    def of(self, file: AwaitedFile) -> tuple[float | None, float | None]:
        """Bytes per second and the seconds left, as far as they are known."""
        if file.bytes_per_second is not None:
            return file.bytes_per_second, file.seconds_left
        speed = self._speeds.get(file.id)
        if not speed or file.size_bytes is None:
            return speed, None
        return speed, max(0.0, (file.size_bytes - file.moved_bytes) / speed)


def sentence(file: AwaitedFile, speeds: Speeds) -> str:
    """``2 steps wait for big.nc: 120.0 of 480.0 MB, 11.2 MB/s, 32 s left``."""
    steps = file.waiting_steps
    who = "" if not steps else "1 step waits for " if steps == 1 else f"{steps} steps wait for "
    return visible(f"{who}{file.basename}: {', '.join(_words(file, speeds))}").replace("\n", " ")


def _words(file: AwaitedFile, speeds: Speeds) -> Iterator[str]:
    if file.state != "moving":
        yield f"{sized(file.size_bytes)} to come" if file.size_bytes is not None else "to come"
        if file.tries:
            yield f"tried {file.tries} times in vain ({file.error})"
        return
    yield amount(file.moved_bytes, file.size_bytes)
    speed, left = speeds.of(file)
    if speed is not None:
        yield f"{sized(speed)}/s"
    if left is not None:
        yield f"{lasting(left)} left"


def amount(part: int, whole: int | None) -> str:
    """``120.0 of 480.0 MB``."""
    if whole is None:
        return sized(part)
    (some, unit), all_of_it = sized(part).split(" "), sized(whole)
    return f"{some} of {all_of_it}" if all_of_it.endswith(f" {unit}") else f"{some} {unit} of {all_of_it}"


def summary(found: Replication) -> str:
    """All that a run needs from elsewhere, in a line."""
    if found.handed == found.files:
        return f"{found.files} read by the engine's server where they lie"
    words = [f"{found.here} of {found.files} here ({amount(found.here_bytes, found.wanted_bytes)})"]
    words += [f"{found.waiting} to come"] if found.waiting else []
    words += [f"{found.failed} cannot be had"] if found.failed else []
    words += [f"{found.handed} read by the engine's server where they lie"] if found.handed else []
    return f"{', '.join(words)}; {sized(found.moved_bytes)} moved for this run"


def rows(found: Replication) -> list[tuple[Any, ...]]:
    """The files that a run waits for, as a table shows them: file, steps, come, speed, left, source."""
    speeds = Speeds()
    shown = []
    for file in found.awaited:
        speed, left = speeds.of(file)
        come = amount(file.moved_bytes, file.size_bytes) if file.state == "moving" else _put_off(file)
        pace = f"{sized(speed)}/s" if speed is not None else ""
        shown.append((file.basename, file.waiting_steps or "", come, pace, lasting(left), file.url))
    return shown


def _put_off(file: AwaitedFile) -> str:
    if not file.tries:
        return "" if file.size_bytes is None else f"{sized(file.size_bytes)} to come"
    again = file.raw.get("next_try")
    when = f", again at {short_time(_time(again))[-8:]}" if again else ""
    return f"tried {file.tries} times{when}: {file.error}"


def _time(text: str) -> Any:
    from datetime import datetime  # noqa: PLC0415 - rarely needed

    return datetime.fromisoformat(text)


class Follower:
    """Looks every second at what a run waits for, in a thread of its own and over a connection of its own.

    It ends at once where the run needs nothing from elsewhere: all of that is known when it is submitted.
    """

    def __init__(self, client: "Client", run_id: int, on_news: Callable[[str], None] | None = None) -> None:
        self._client, self._run_id, self._on_news = client, run_id, on_news
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="arrivals", daemon=True)
        self.speeds = Speeds()
        self.latest: Replication | None = None
        self._said: dict[int, float] = {}

    @contextmanager
    def following(self) -> Iterator["Follower"]:
        """Look while the block lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()

    def news(self, now: float) -> list[str]:
        """What steps have come to wait for since the last time, and every half minute how far that is."""
        found = self.latest
        if found is None:
            return []
        awaited = [file for file in found.awaited if file.waiting_steps][:LINES]
        due = [file for file in awaited if now - self._said.get(file.id, -_SAY_AGAIN_SECONDS) >= _SAY_AGAIN_SECONDS]
        self._said |= {file.id: now for file in due}
        return [sentence(file, self.speeds) for file in due]

    def _follow(self) -> None:
        if self._over.wait(_LOOK_SECONDS):  # most runs are over by then, or wait for nothing
            return
        with self._client.beside() as client:
            pause = 0.0
            while not self._over.wait(pause):
                try:
                    found = client.runs.replication(self._run_id)
                except StemmaError:  # the stream of events tells of it, where it lasts
                    pause = _IDLE_SECONDS
                    continue
                if not found.files:
                    return
                self.speeds.look(found, time.monotonic())
                self.latest = found
                if self._on_news is not None:
                    for line in self.news(time.monotonic()):
                        self._on_news(line)
                pause = _LOOK_SECONDS if found.waiting else _IDLE_SECONDS


def bars(found: Replication | None, speeds: Speeds) -> list["RenderableType"]:
    """A bar and a sentence for the files that are waited for most; what steps wait for is in front."""
    from rich.text import Text  # noqa: PLC0415 - a terminal alone pays for it

    if found is None:
        return []
    lines: list[RenderableType] = []
    for file in found.awaited[:LINES]:
        share = min(1.0, file.moved_bytes / file.size_bytes) if file.size_bytes and file.state == "moving" else 0.0
        filled = round(_BAR_WIDTH * share)
        bar = ("━" * filled, "magenta"), ("━" * (_BAR_WIDTH - filled), "dim")
        lines.append(Text.assemble(*bar, f"  {sentence(file, speeds)}", no_wrap=True, overflow="ellipsis"))
    if found.waiting > len(lines):
        lines.append(Text(f"{' ' * _BAR_WIDTH}  and {found.waiting - len(lines)} files more to come", style="dim"))
    return lines
