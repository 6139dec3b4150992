"""What of a run is drawn: its steps and files put together in groups, as coarse as asked for.

A scatter is one group of its elements, its files one group a port. A directory stands for what is in
it, a primary file for its secondary files. Of several attempts the last is drawn.
"""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from stemma.provenance.facts import RunFacts
from stemma.records import Occurrence, StepRecord

WHOLE_RUN = "run"


@dataclass(frozen=True, slots=True)
class Detail:
    """How much is drawn."""

    level: str
    elements: bool = False
    """Each element of a scatter by itself."""
    files: bool = True
    """Files between steps too, not only inputs and outputs of the run."""
    inside: bool = True
    """The steps of sub-workflows."""
    steps: bool = True
    note: str | None = None
    """What to tell people about what is left out."""


DETAILS: tuple[Detail, ...] = (
    Detail("element", elements=True),
    Detail("step", note="scatters are drawn as one step"),
    Detail("step", files=False, note="files between steps are left out"),
    Detail("step", files=False, inside=False, note="sub-workflows are drawn closed, files between steps left out"),
    Detail("run", files=False, inside=False, steps=False, note="steps are left out"),
)
"""From the finest to the coarsest."""


@dataclass(slots=True)
class FileGroup:
    """Files that are drawn as one node."""

    maker: str | None
    """The group of steps that generated them."""
    port: str
    files: list[Occurrence] = field(default_factory=list)
    output_ports: dict[str, None] = field(default_factory=dict)
    of_document: bool = False
    """Whether the workflow itself brought it (a default), rather than who ran it."""


@dataclass(slots=True)
class Folded:
    """Groups by key, and what goes between them."""

    detail: Detail
    steps: dict[str, list[StepRecord]] = field(default_factory=dict)
    frames: dict[str, list[StepRecord]] = field(default_factory=dict)
    """Sub-workflows whose steps are drawn."""
    frame_of: dict[str, str | None] = field(default_factory=dict)
    """The frame that a group of steps, or another frame, lies in."""
    files: dict[str, FileGroup] = field(default_factory=dict)
    used: dict[tuple[str, str], None] = field(default_factory=dict)
    """Group of files, group of steps."""
    flows: dict[tuple[str, str], None] = field(default_factory=dict)
    """Group of steps to group of steps, where the files between them are not drawn."""
    group_of: dict[UUID, str] = field(default_factory=dict)
    """The group of steps that a step execution is drawn in."""
    belonging: Counter[UUID] = field(default_factory=Counter)
    """How many files a directory or primary file stands for, itself not counted."""
    belonging_bytes: Counter[UUID] = field(default_factory=Counter)


def fold(facts: RunFacts, detail: Detail) -> Folded:
    """Group what ``facts`` tell of the last attempt."""
    folded = Folded(detail)
    last = max((step.attempt for step in facts.run.steps), default=1)
    drawn = {step.uuid: step for step in facts.run.steps if step.attempt == last}
    _group_steps(folded, drawn)
    place = _group_files(folded, facts, drawn)
    for usage in facts.run.usages:
        user, group = folded.group_of.get(usage.step), place.get(usage.occurrence)
        if user is None or group is None:
            continue
        if group in folded.files:
            if folded.files[group].maker != user:  # within a group that is drawn as one there are no arrows
                folded.used[group, user] = None
        elif group != user:
            folded.flows[group, user] = None
    return folded


def _group_steps(folded: Folded, drawn: dict[UUID, StepRecord]) -> None:
    detail = folded.detail
    filled = {step.parent for step in drawn.values() if step.parent in drawn} if detail.inside else set()
    for step in drawn.values():
        shown = step if detail.inside else _outermost(step, drawn)
        key = _key(shown, detail)
        if step.uuid in filled:
            folded.frames.setdefault(key, []).append(step)
        else:
            folded.group_of[step.uuid] = key
            if shown is step or not detail.steps:
                folded.steps.setdefault(key, []).append(step)
        if shown is step:
            outer = drawn.get(step.parent) if step.parent else None
            folded.frame_of[key] = _key(outer, detail) if outer else None
    _put_outer_frames_first(folded)


def _key(step: StepRecord, detail: Detail) -> str:
    if not detail.steps:
        return WHOLE_RUN
    return f"step {step.key}" if detail.elements else f"step {step.path}"


def _outermost(step: StepRecord, drawn: dict[UUID, StepRecord]) -> StepRecord:
    while step.parent in drawn:
        step = drawn[step.parent]
    return step


def _put_outer_frames_first(folded: Folded) -> None:
    def depth(key: str) -> int:
        outer = folded.frame_of.get(key)
        return 0 if outer is None else 1 + depth(outer)

    folded.frames = dict(sorted(folded.frames.items(), key=lambda item: depth(item[0])))


def _group_files(folded: Folded, facts: RunFacts, drawn: dict[UUID, StepRecord]) -> dict[UUID, str]:
    """Group the files; what is not drawn itself is at the group of steps that made it."""
    place: dict[UUID, str] = {}
    for occurrence in facts.run.occurrences:
        root = _root(occurrence, facts, folded)
        if root.uuid in place:
            place[occurrence.uuid] = place[root.uuid]
        elif root.step is None or root.step in drawn:
            place[root.uuid] = place[occurrence.uuid] = _add_file(folded, facts, root)
        if root is not occurrence and occurrence.parent and occurrence.content:
            folded.belonging[root.uuid] += 1
            folded.belonging_bytes[root.uuid] += occurrence.content.size_bytes
        if occurrence.uuid in facts.output_ports and place.get(root.uuid) in folded.files:
            folded.files[place[root.uuid]].output_ports.update(dict.fromkeys(facts.output_ports[occurrence.uuid]))
    return place


def _root(occurrence: Occurrence, facts: RunFacts, folded: Folded) -> Occurrence:
    """What stands for ``occurrence``: its directory or primary file, and where a sub-workflow that is drawn
    open only handed it on, the file that it was handed.
    """
    while True:
        above = occurrence.parent
        if above is None and occurrence.derived_from and occurrence.step not in folded.group_of:
            above = occurrence.derived_from[0]
        found = facts.occurrences.get(above) if above else None
        if found is None:
            return occurrence
        occurrence = found


def _add_file(folded: Folded, facts: RunFacts, root: Occurrence) -> str:
    maker = folded.group_of.get(root.step) if root.step else None
    is_end = root.step is None or root.uuid in facts.output_ports
    if not folded.detail.files and not is_end and maker is not None:
        return maker
    of_document = root.step is None and root.at is None and root.uuid not in facts.inputs
    if folded.detail.elements:
        key = f"file {root.uuid}"
    elif of_document:  # each by itself, however often it was used: which script a step ran is what people look for
        key = f"document {root.basename} {root.content}"
    else:
        key = f"files of {maker} at {root.port}"
    group = folded.files.setdefault(key, FileGroup(maker, root.port, of_document=of_document))
    if of_document and group.files:
        return key
    group.files.append(root)
    return key
