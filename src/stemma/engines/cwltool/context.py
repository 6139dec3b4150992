"""cwltool's context of a run, with what we add to it."""

import os
from itertools import count
from typing import Self, cast

from cwltool.context import RuntimeContext

from stemma.engines.cwltool.places import Branch, Enclosing, Place
from stemma.engines.cwltool.recorder import Recorder


class RunContext(RuntimeContext):
    """What cwltool hands from call to call."""

    recorder: Recorder
    enclosing: Enclosing
    """The workflow execution whose steps are being made."""
    place: Place | None
    """The step execution that is being made; None for the run's own workflow."""
    branch: Branch | None
    """The innermost element of a scatter that is being made; told only in a run that has late files."""
    policy: str
    """``auto``, ``required`` or ``never``: whether tools run in containers."""

    def __init__(self, recorder: Recorder, policy: str) -> None:
        super().__init__()
        self.recorder = recorder
        self.enclosing = Enclosing()
        self.place = None
        self.branch = None
        self.policy = policy
        self._numbers = count()

    def copy(self) -> Self:
        """A copy that shares what is not replaced."""
        return cast("Self", super().copy())

    def create_outdir(self) -> str:
        """A folder for a step to work in."""
        return self._folder("o")

    def create_tmpdir(self) -> str:
        """A folder for temporary files."""
        return self._folder("t")

    def get_stagedir(self) -> str:
        """A folder for links to a step's inputs."""
        return self._folder("s")

    def _folder(self, kind: str) -> str:
        """A new folder: one process makes them all, so a number does for a random name."""
        path = f"{self.recorder.folder.tmp}/{kind}{next(self._numbers)}"
        os.mkdir(path, 0o700)  # noqa: PTH102 - three for every step; a Path costs more than the call
        return path


def run_context(context: RuntimeContext) -> RunContext:
    """``context`` as what it is in our runs."""
    assert isinstance(context, RunContext)  # noqa: S101 - for the type checker: nobody else makes contexts here
    return context
