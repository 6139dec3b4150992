"""Checks documents in a helper process, so that the asking process imports no cwltool and is safe from them."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stemma.cwl.bundle import Bundle, Limits
from stemma.cwl.placeholders import Placeholder, PlaceholderKind
from stemma.cwl.steps import from_json
from stemma.errors import Finding, InvalidDocument, ValidatorUnavailable
from stemma.forkserver import ForkServer, ForkServerGone
from stemma.records import Json, WorkflowStructure

_TARGET: Final = "stemma.cwl.validation:serve"
_START_SECONDS: Final = 60.0
"""How long the helper may take to import cwltool and build its schemas on a busy machine."""
_GRACE_SECONDS: Final = 2.0
"""How long after its own limit a check is waited for; the kernel ends it at the limit."""
_HARMLESS: Final = Bundle(
    {"main.cwl": b"{cwlVersion: v1.2, class: CommandLineTool, baseCommand: echo, inputs: [], outputs: []}"}, "main.cwl"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A document that may be registered."""

    structure: WorkflowStructure
    placeholders: tuple[Placeholder, ...]
    warnings: tuple[Finding, ...]
    """What may go wrong when it runs, and does not stand against it."""
    bundle_for_execution: Bundle
    """The bundle without its placeholders; the same object where it has none."""


class Validator:
    """Checks documents, each in a process of its own. Safe to use from several threads; a context manager."""

    def __init__(
        self, timeout_seconds: float, memory_bytes: int, *, document_bytes: int = Limits().document_bytes
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._document_bytes = document_bytes
        self._server = ForkServer(_TARGET)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the helper process now; returns before it is ready."""
        self._server.start()

    def close(self) -> None:
        """End the helper process."""
        self._server.close()

    def check(self, bundle: Bundle) -> Checked:
        """Check ``bundle``.

        Raises:
            InvalidDocument: it is not CWL that can be registered, or its check takes too much time or memory.
            ValidatorUnavailable: the helper process does not answer, whatever the document.
        """
        return _checked(self._good_answer(bundle, "check"), bundle)

    def pack(self, bundle: Bundle) -> dict[str, Json]:
        """``bundle`` as one object: a ``$graph`` with ``#main``, or a single process (see :mod:`stemma.cwl.packing`).

        Raises:
            InvalidDocument: it is not CWL that can be registered, its documents are of several versions, or it takes
                too much time or memory.
            ValidatorUnavailable: the helper process does not answer, whatever the document.
        """
        packed: dict[str, Json] = self._good_answer(bundle, "pack")["packed"]
        return packed

    def _good_answer(self, bundle: Bundle, task: str) -> Json:
        answer = self._answer(bundle, task)
        exhausted = answer.get("exhausted")
        if exhausted == "death" and "exhausted" in self._answer(_HARMLESS):
            raise ValidatorUnavailable("the helper process keeps dying")
        if exhausted is not None:
            raise InvalidDocument([self._exhaustion(exhausted, bundle.main_file)])
        if answer["findings"]:
            raise InvalidDocument([Finding(**finding) for finding in answer["findings"]])
        return answer

    def _answer(self, bundle: Bundle, task: str = "check") -> Json:
        with tempfile.TemporaryDirectory(prefix="stemma-check-") as folder:
            request = {
                "task": task,
                "files": _laid_out(bundle, Path(folder)),
                "main_path": bundle.main_path,
                "timeout_seconds": self._timeout_seconds,
                "memory_bytes": self._memory_bytes,
                "document_bytes": self._document_bytes,
            }
            for is_last in (False, True):
                answer = self._ask(request)
                if answer is not None:
                    return answer
                if is_last:
                    break
        raise ValidatorUnavailable("the helper process does not start")

    def _ask(self, request: Json) -> Json | None:
        """One question: the answer, or what was exhausted; None where the check never began."""
        try:
            channel = self._server.request(request)
        except ForkServerGone:
            return None
        with channel:
            try:
                channel.receive(_START_SECONDS)
            except (ForkServerGone, TimeoutError):
                return None
            began = time.monotonic()
            try:
                return channel.receive(self._timeout_seconds + _GRACE_SECONDS)
            except TimeoutError:
                return {"exhausted": "time"}
            except ForkServerGone:
                return {"exhausted": "time" if time.monotonic() - began >= self._timeout_seconds else "death"}

    def _exhaustion(self, what: str, file: str) -> Finding:
        said = {
            "time": f"checking this document takes longer than {self._timeout_seconds:g} seconds; simplify it",
            "memory": f"checking this document takes more than {self._memory_bytes} bytes of memory; simplify it",
            "death": "checking this document ended the checker; simplify it",
        }
        return Finding(said[what], f"cwl/too-much-{what}" if what != "death" else "cwl/crash", file, 1, 1)


def _laid_out(bundle: Bundle, folder: Path) -> dict[str, str]:
    """Where each file of the bundle lies; those in memory are written into ``folder`` under names of ours."""
    places = {}
    for number, (path, content) in enumerate(bundle.files.items()):
        if isinstance(content, Path):
            places[path] = str(content.absolute())
        else:
            place = folder / str(number)
            place.write_bytes(content)
            places[path] = str(place)
    return places


def _checked(answer: Json, bundle: Bundle) -> Checked:
    blanked: str | None = answer["blanked"]
    executed = bundle
    if blanked is not None:
        executed = Bundle({**bundle.files, bundle.main_file: blanked.encode()}, bundle.main_path)
    return Checked(
        structure=from_json(answer["structure"]),
        placeholders=tuple(
            Placeholder(port, PlaceholderKind(kind), *rest) for port, kind, *rest in answer["placeholders"]
        ),
        warnings=tuple(Finding(**warning) for warning in answer["warnings"]),
        bundle_for_execution=executed,
    )
