"""The store in a forecast: what lies there, for whom it is kept, what goes first."""

import heapq

from stemma.planning.estimates import Estimates
from stemma.planning.known import Known

NEVER = 1 << 60


class Shelf:
    """Files come, are kept for steps that were promised them, and go by next use when there is no room."""

    def __init__(self, known: Known, estimates: Estimates) -> None:
        self._known = known
        self._places = estimates.places
        self.missing = list(known.missing)
        """Bytes of each file still to come."""
        self.lacks = [sum(1 for file in files if self.missing[file]) for files in known.files_of]
        """How many files each step lacks."""
        self.left = [self._seconds(files) for files in known.files_of]
        """Seconds of transfer that each step lacks."""
        self._holds = [here or moving for here, moving in zip(known.is_here, known.is_moving, strict=True)]
        """Whether a file takes space."""
        self._filled = sum(size for size, holds in zip(known.sizes, self._holds, strict=True) if holds)
        self._keepers = [0] * len(known.keys)
        self._promised = [step.is_running for step in known.steps]
        self._idle: list[tuple[int, int]] = []
        for number, step in enumerate(known.steps):
            if step.is_running:
                for file in known.files_of[number]:
                    self._keepers[file] += 1
        for file in known.pinned:
            self._keepers[file] = self._keepers[file] or 1
        for file, is_here in enumerate(known.is_here):
            if is_here and not self._keepers[file]:
                self._lay_aside(file)

    def promise(self, step: int) -> None:
        """Keep the step's files from now on, as they come."""
        self._promised[step] = True
        for file in self._known.files_of[step]:
            self._keepers[file] += 1

    def release(self, step: int) -> None:
        """The step has ended."""
        for file in self._known.files_of[step]:
            self._keepers[file] -= 1
            if self._keepers[file] == 0:
                self._lay_aside(file)

    def bring(self, file: int) -> list[int]:
        """A file comes for which there is room. Which steps lack it no more?"""
        seconds = self.missing[file] / self._known.speeds[file]
        self.missing[file] = 0
        if not self._holds[file]:
            self._holds[file] = True
            self._filled += self._known.sizes[file]
        if not self._keepers[file]:
            self._lay_aside(file)
        users = self._known.using[file]
        for step in users:
            self.lacks[step] -= 1
            self.left[step] = self.left[step] - seconds if self.lacks[step] else 0.0
        return users

    def make_room(self, files: list[int]) -> list[int] | None:
        """Drop what is needed last until all of ``files`` fit, beside one another; None if they cannot.

        What is dropped is told, so that steps that use it can be looked at again.
        """
        room = self._known.room - sum(self._known.sizes[file] for file in files if not self._holds[file])
        if self._filled <= room:
            return []
        dropped = []
        spared = []
        while self._filled > room and self._idle:
            entry = heapq.heappop(self._idle)
            file = entry[1]
            if self._keepers[file] or not self._holds[file] or self.missing[file]:
                continue
            if file in files:
                spared.append(entry)
                continue
            self._holds[file] = False
            self._filled -= self._known.sizes[file]
            dropped.append(entry)
        fits = self._filled <= room
        for entry in spared if fits else spared + dropped:
            heapq.heappush(self._idle, entry)
        if fits:
            return [self._drop(file) for _, file in dropped]
        for _, file in dropped:
            self._holds[file] = True
            self._filled += self._known.sizes[file]
        return None

    def _drop(self, file: int) -> int:
        self.missing[file] = max(self._known.sizes[file], 1)
        for step in self._known.using[file]:
            self.lacks[step] += 1
            self.left[step] += self.missing[file] / self._known.speeds[file]
        return file

    def _lay_aside(self, file: int) -> None:
        users = (self._places[step] for step in self._known.using[file] if not self._promised[step])
        heapq.heappush(self._idle, (-min(users, default=NEVER), file))

    def _seconds(self, files: list[int]) -> float:
        return sum(self.missing[file] / self._known.speeds[file] for file in files if self.missing[file])
