"""Whether a server can run a document, and with which of its workflow engines, as far as it says."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from stemma.cwl.bundle import Bundle
from stemma.engines.reana.must_have import ports_read
from stemma.engines.wes import texts
from stemma.engines.wes.answers import ServiceInfo
from stemma.errors import Finding
from stemma.records import Json, RevisionRecord, StepDefinition, StepKind

Pack = Callable[[Bundle], Mapping[str, Json]]
"""Writes a document as one object."""
_VERSION_CHARACTERS: Final = 100
_PREFERRED: Final = ("cwltool", "toil", "toil-cwl-runner")
"""Which of a server's workflow engines is asked for when the settings name none."""


def preferred_engine(info: ServiceInfo | None) -> str | None:
    """The workflow engine to ask for; None leaves it to the server."""
    offered = info.workflow_engine_versions if info is not None else {}
    return next((name for name in _PREFERRED if name in offered), None)


def version(info: ServiceInfo) -> str:
    """The name and version of a server, as far as it tells them; else those of the standard."""
    told = info.version or f"WES {', '.join(info.supported_wes_versions) or '1'}"
    return texts.sentence(f"{info.name} {told}" if info.name else told)[:_VERSION_CHARACTERS]


def sent_ports(revision: RevisionRecord, store_path: Callable[[str], Path], pack: Pack | None) -> set[str]:
    """The inputs whose files a runner reads before a step does, or gives out as they are; all of them where nobody can
    look at the document."""
    if pack is None:
        return {port.id for port in revision.structure.inputs}
    files = {file.path: store_path(file.content.sha256) for file in revision.files}
    return ports_read(pack(Bundle(files, revision.main_path)))


def findings(revision: RevisionRecord, containers: str, info: ServiceInfo | None) -> list[Finding]:
    """Why the server could not run ``revision``; ``info`` is None when it does not answer."""
    return [*_of_containers(containers), *_of_operations(revision), *_of_version(revision, info)]


def all_steps(steps: tuple[StepDefinition, ...]) -> Iterator[StepDefinition]:
    """All steps, those of sub-workflows after their own."""
    for step in steps:
        yield step
        yield from all_steps(step.steps)


def _of_containers(containers: str) -> Iterator[Finding]:
    """``never`` is about this machine; that every tool runs in a container nobody here could see to."""
    if containers == "required":
        yield Finding(
            "a WES server decides itself which tools run in containers, so STEMMA_CONTAINERS=required cannot be "
            "promised there",
            "engine/containers",
        )


def _of_operations(revision: RevisionRecord) -> Iterator[Finding]:
    for step in all_steps(revision.structure.steps):
        if step.kind is StepKind.OPERATION:
            message = f"step {step.path!r} is an abstract operation, which says what it does and not how"
            yield Finding(message, "engine/operation", step.run.partition("#")[0] or None)


def _of_version(revision: RevisionRecord, info: ServiceInfo | None) -> Iterator[Finding]:
    versions = info.cwl_versions if info is not None else None
    wanted = revision.structure.cwl_version
    if versions is None or wanted.removeprefix("v") in {version.removeprefix("v") for version in versions}:
        return
    runs = f"it runs {', '.join(map(texts.sentence, versions))}" if versions else "it runs no CWL"
    yield Finding(f"the WES server does not run CWL {wanted}: {runs}", "engine/cwl-version")
