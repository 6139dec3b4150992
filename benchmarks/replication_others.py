"""How people get a workflow's inputs from far away, each way on a bare runner that costs nothing itself."""

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import httpx

from common import BIN
from replication_workloads import Step, Workload

LIMIT_SECONDS = 600
"""After so long without an end of any step something is wrong."""


@dataclass(slots=True)
class Place:
    """Where a contestant works."""

    url: str
    """The far server, behind the link."""
    folder: Path
    """Empty at first."""
    limit_bytes: float
    """What its store may hold."""
    warm_url: str = ""
    """A small file on the far server, not behind the link."""
    moved_bytes: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, client: httpx.Client, name: str, target: BinaryIO | None) -> None:
        """Read a file from far away, and keep it where there is a target."""
        with client.stream("GET", f"{self.url}/{name}") as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes(1 << 20):
                if target is not None:
                    target.write(chunk)
                with self.guard:
                    self.moved_bytes += len(chunk)


class Runner:
    """Runs steps as soon as those before them have ended and ``may_start`` says so, as many at once as there are slots.

    ``may_start`` and ``ends`` are called with ``changed`` held; ``reads`` is called in the step's slot.
    """

    def __init__(self, work: Workload) -> None:
        self.work = work
        self.changed = threading.Condition()
        self.begun: set[str] = set()
        self.ended: set[str] = set()
        self._failures: list[Exception] = []

    def may_start(self, step: Step) -> bool:  # noqa: ARG002 - for those who have something to say
        """Whether it may, as far as its files go."""
        return True

    def reads(self, step: Step) -> None:
        """Do what comes before it computes."""

    def ends(self, step: Step) -> None:
        """Do what comes after."""

    def run(self) -> None:
        """Until all have ended."""
        with ThreadPoolExecutor(self.work.slots) as slots, self.changed:
            while len(self.ended) < len(self.work.steps):
                for step in self.work.steps:
                    if self._is_ready(step) and self.may_start(step):
                        self.begun.add(step.key)
                        slots.submit(self._carry_out, step)
                if not self.changed.wait(LIMIT_SECONDS):
                    raise TimeoutError(f"{len(self.ended)} of {len(self.work.steps)} steps have ended")
                if self._failures:
                    raise self._failures[0]

    def _is_ready(self, step: Step) -> bool:
        has_slot = len(self.begun) - len(self.ended) < self.work.slots
        return has_slot and step.key not in self.begun and self.ended.issuperset(step.after)

    def _carry_out(self, step: Step) -> None:
        try:
            self.reads(step)
            time.sleep(step.seconds)
        except Exception as error:  # noqa: BLE001 - raised by run()
            self._failures.append(error)
        with self.changed:
            self.ended.add(step.key)
            self.ends(step)
            self.changed.notify_all()


class ReadWhenItStarts(Runner):
    """No replication: each step reads its files from far away, one after another, in its slot."""

    def __init__(self, work: Workload, place: Place) -> None:
        super().__init__(work)
        self._place = place
        self._client = httpx.Client(trust_env=False, timeout=60)

    def reads(self, step: Step) -> None:
        """See :class:`Runner`."""
        for name in step.files:
            self._place.fetch(self._client, name, None)


class StageAll(Runner):
    """Copy everything, then run."""

    def __init__(self, work: Workload, place: Place, streams: int) -> None:
        super().__init__(work)
        self._place, self._streams = place, streams

    def run(self) -> None:
        """See :class:`Runner`."""
        with httpx.Client(trust_env=False, timeout=60) as client, ThreadPoolExecutor(self._streams) as threads:

            def keep(name: str) -> None:
                with (self._place.folder / name).open("wb") as target:
                    self._place.fetch(client, name, target)

            list(threads.map(keep, sorted(self.work.files)))
        super().run()


class OneAfterAnother(Runner):
    """The published way: three rclone processes a file, in the order of need, while steps run.

    What was used longest ago is dropped when the store is full. As in the simulator, it is kinder than the original: a
    file that is here is not copied again, and what a step waits for is not dropped.
    """

    def __init__(self, work: Workload, place: Place) -> None:
        super().__init__(work)
        self._place = place
        self._here: dict[str, int] = {}
        self._readers: dict[str, int] = dict.fromkeys(work.files, 0)
        self._used: dict[str, float] = {}
        self._awaited: set[str] = set()
        """Steps whose files were asked for and that have not begun."""

    def run(self) -> None:
        """See :class:`Runner`."""
        threading.Thread(target=self._copy_all, daemon=True).start()
        super().run()

    def may_start(self, step: Step) -> bool:
        """See :class:`Runner`."""
        if not self._here.keys() >= set(step.files):
            return False
        self._awaited.discard(step.key)
        for name in step.files:
            self._readers[name] += 1
            self._used[name] = time.monotonic()
        return True

    def ends(self, step: Step) -> None:
        """See :class:`Runner`."""
        for name in step.files:
            self._readers[name] -= 1

    def _copy_all(self) -> None:
        coming = [(name, step) for step in in_order(self.work) for name in step.files]
        while coming:
            name, step = coming[0]
            with self.changed:
                if step.key not in self.begun:
                    self._awaited.add(step.key)
                is_needed = name not in self._here and step.key not in self.ended
                if is_needed and not self._has_room(self.work.files[name]):
                    self.changed.wait(LIMIT_SECONDS)
                    continue
                del coming[0]
                self._used[name] = time.monotonic()
            if is_needed:
                self._copy(name)

    def _copy(self, name: str) -> None:
        for words in (["lsjson"], ["copyto"], ["lsjson"]):  # what is there, the copy, whether it came
            target = [str(self._place.folder / name)] if words == ["copyto"] else []
            subprocess.run(
                [BIN / "rclone", "--config", "", *words, f":http:{name}", *target, "--http-url", self._place.url],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        with self.changed:
            self._here[name] = self.work.files[name]
            self._place.moved_bytes += self.work.files[name]
            self.changed.notify_all()

    def _has_room(self, size: int) -> bool:
        """Whether there is room, once what was used longest ago is dropped."""
        awaited = {name for step in self.work.steps if step.key in self._awaited for name in step.files}
        while sum(self._here.values()) + size > self._place.limit_bytes:
            idle = [name for name in self._here if not self._readers[name] and name not in awaited]
            if not idle:
                return False
            oldest = min(idle, key=lambda name: self._used.get(name, 0.0))
            del self._here[oldest]
            (self._place.folder / oldest).unlink()
        return True


def in_order(work: Workload) -> list[Step]:
    """Steps after those that they wait for, and as soon as that allows."""
    left = {step.key: len(step.after) for step in work.steps}
    order = [step for step in work.steps if not step.after]
    for step in order:
        for follower in work.steps:
            if step.key in follower.after:
                left[follower.key] -= 1
                if not left[follower.key]:
                    order.append(follower)
    return order


def timed(made: Callable[[Workload, Place], Runner]) -> Callable[[Workload, Place], float]:
    """A contestant on the bare runner; gives the seconds until all steps have ended."""

    def play(work: Workload, place: Place) -> float:
        began = time.monotonic()
        made(work, place).run()
        return time.monotonic() - began

    return play


OTHERS: dict[str, Callable[[Workload, Place], float]] = {
    "read when it starts": timed(ReadWhenItStarts),
    "stage all, 1 stream": timed(lambda work, place: StageAll(work, place, 1)),
    "stage all, 4 streams": timed(lambda work, place: StageAll(work, place, 4)),
    "one after another": timed(OneAfterAnother),
}
