"""Where a step execution stands in its run, as cwltool's own objects tell it."""

import functools
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from cwltool.workflow_job import ReceiveScatterOutput


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one step execution."""

    path: str
    """The step's definition: ``by_year/summarise``."""
    key: str
    """This execution of it: ``by_year[2]/summarise``."""
    scatter_index: tuple[int, ...] = ()
    parent: UUID | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """An element of a scatter, within the element of another where scatters are nested.

    An element that can give nothing more for now is not asked again before something in it has changed.
    """

    woken: set[int]
    """The elements of its scatter in which something has changed."""
    index: int
    parent: "Branch | None"

    def wake(self) -> None:
        """Let it be asked again, and those that it lies in."""
        branch: Branch | None = self
        while branch is not None:
            branch.woken.add(branch.index)
            branch = branch.parent


class WakingScatter(ReceiveScatterOutput):
    """What takes the outputs of a scattered step, and knows which of its elements to ask again."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.woken: set[int] = set()


@dataclass(frozen=True, slots=True)
class Enclosing:
    """The execution of the workflow that a step belongs to. The run itself has no path and no uuid."""

    path: str = ""
    key: str = ""
    uuid: UUID | None = None
    branch: Branch | None = None

    def place(self, step_id: str, scatter_index: tuple[int, ...]) -> Place:
        """The place of a step in it."""
        name = short_name(step_id)
        index = "".join(f"[{number}]" for number in scatter_index)
        return Place(
            path=f"{self.path}/{name}" if self.path else name,
            key=f"{self.key}/{name}{index}" if self.key else f"{name}{index}",
            scatter_index=scatter_index,
            parent=self.uuid,
        )


def short_name(identifier: str) -> str:
    """The last part of a CWL identifier."""
    parts = urllib.parse.urlsplit(identifier)
    return (parts.fragment or parts.path).rsplit("/", 1)[-1]


def tool_name(identifier: str) -> str:
    """The name of a tool that is a document by itself: its own id, or that of its file without the ending."""
    parts = urllib.parse.urlsplit(identifier)
    return parts.fragment.rsplit("/", 1)[-1] or PurePosixPath(parts.path).stem


def scatter_index(callback: object) -> tuple[int, ...]:
    """Where in its scatter an execution stands, from the callback that takes its outputs.

    cwltool hands each element ``partial(receiver.receive_scatter_output, index)``, and for each level of a
    nested scatter the receiver's own callback is such a one again.
    """
    index: list[int] = []
    while (receiver := _receiver(callback)) is not None:
        assert isinstance(callback, functools.partial)  # noqa: S101 - for the type checker: _receiver saw to it
        index.insert(0, callback.args[0])
        callback = receiver.output_callback
    return tuple(index)


def branch_of(callback: object, outer: Branch | None) -> Branch | None:
    """The branch of the execution whose outputs ``callback`` takes, in a workflow of the branch ``outer``."""
    receiver = _receiver(callback)
    if receiver is None:
        return outer
    assert isinstance(callback, functools.partial)  # noqa: S101 - for the type checker: _receiver saw to it
    assert isinstance(receiver, WakingScatter)  # noqa: S101 - as above: there are no others in our runs
    return Branch(receiver.woken, callback.args[0], branch_of(receiver.output_callback, outer))


def innermost_callback(callback: Callable[..., object]) -> Callable[..., object]:
    """The callback of the step as a whole, below those of its scatter."""
    while (receiver := _receiver(callback)) is not None:
        callback = receiver.output_callback
    return callback


def _receiver(callback: object) -> ReceiveScatterOutput | None:
    if not isinstance(callback, functools.partial):
        return None
    owner = getattr(callback.func, "__self__", None)
    return owner if isinstance(owner, ReceiveScatterOutput) else None
