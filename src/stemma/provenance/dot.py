"""The picture of a run, as DOT text: what went in, what was done with it, what came out.

Data flows downwards. People and programs are badges in the title, since as nodes they would be hubs
that every arrow leads to. Arrows have colours, not labels.
"""

from collections import Counter
from dataclasses import dataclass

from stemma.provenance import labels, style
from stemma.provenance.drawing import Cluster, Drawing, Node, to_dot
from stemma.provenance.facts import RunFacts, index
from stemma.provenance.fold import DETAILS, WHOLE_RUN, FileGroup, Folded, fold
from stemma.provenance.ports import files_in
from stemma.provenance.title import run_title
from stemma.records import FileKind, Json, RunRecord, StepKind, StepRecord
from stemma.states import StepState

LEVELS = ("run", "step", "element")
NODE_LIMIT = 320
EDGE_LIMIT = 1500
_VALUES_SHOWN = 3
_VALUE_LIMIT = 22
_DIGEST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be rendered."""

    dot: str
    level: str
    """``run``, ``step`` or ``element``: the one that was asked for, or a coarser one that can be read."""
    nodes: int
    note: str | None
    """What was left out, when it is coarser than asked for."""


def picture_of_run(run: RunRecord, *, level: str = "step") -> Picture:
    """Draw ``run`` as far as it is known; coarser than ``level`` when it would have too many nodes to read.

    Raises:
        ValueError: there is no such level, or the record refers to a step that it does not hold.
    """
    if level not in LEVELS:
        raise ValueError(f"there is no level {level!r}; choose one of {', '.join(LEVELS)}")
    facts = index(run)
    first = next(number for number, detail in enumerate(DETAILS) if detail.level == level)
    for detail in DETAILS[first:]:
        folded = fold(facts, detail)
        count = len(folded.steps) + len(folded.files)
        if (count <= NODE_LIMIT and _edge_count(folded) <= EDGE_LIMIT) or detail is DETAILS[-1]:
            break
    note = detail.note if detail is not DETAILS[first] else None
    drawing = _draw(facts, folded, note)
    return Picture(to_dot(drawing), detail.level, len(drawing.nodes), note)


def _edge_count(folded: Folded) -> int:
    return len(folded.used) + len(folded.flows) + len(folded.files)


def _draw(facts: RunFacts, folded: Folded, note: str | None) -> Drawing:
    drawing = Drawing()
    for key, steps in folded.frames.items():
        drawing.clusters[key] = _frame(steps, folded.frame_of.get(key))
    for key, steps in folded.steps.items():
        drawing.nodes[key] = _step_node(facts, key, steps, folded)
    if not folded.steps:
        known = "the engine tells no steps" if facts.run.state.is_terminal else "no step has started"
        drawing.nodes[WHOLE_RUN] = Node(labels.lines([labels.name(known)]), "waiting")
    used = {file for file, _ in folded.used}
    for key, group in folded.files.items():
        drawing.nodes[key] = _file_node(group, folded, is_used=key in used)
        if group.maker is not None:
            drawing.edges[group.maker, key, "generated"] = None
    for file, step in folded.used:
        drawing.edges[file, step, "used"] = None
    for before, after in folded.flows:
        drawing.edges[before, after, "used"] = None
    _connect_skipped(drawing, facts, folded)
    _draw_output_values(drawing, facts, folded)
    drawing.title = run_title(facts.run, note, drawing)
    return drawing


def _frame(steps: list[StepRecord], parent: str | None) -> Cluster:
    failed = any(step.state is StepState.FAILED for step in steps)
    title = labels.name(steps[0].name, suffix=_count(steps))
    told = labels.detail(" · ".join(filter(None, ("sub-workflow", _time_taken(steps)))))
    return Cluster(f"<{title} {told}>", parent, failed)


def _step_node(facts: RunFacts, key: str, steps: list[StepRecord], folded: Folded) -> Node:
    whole = key == WHOLE_RUN
    parts = [labels.name(facts.run.name if whole else steps[0].name, suffix=_count(steps))]
    if _kind(steps) == "reused":
        parts.append(labels.detail("reused", style.NODES["reused"].border))
    else:
        parts.append(labels.detail(told) if (told := _told(steps)) else "")
    parts += [] if whole else _values(steps)
    parts += _failure(steps)
    return Node(labels.lines(parts), _kind(steps), folded.frame_of.get(key), many=len(steps) > 1)


def _count(steps: list[StepRecord]) -> str:
    if len(steps) > 1:
        return labels.times(len(steps))
    return "".join(f"[{number}]" for number in steps[0].scatter_index)


def _kind(steps: list[StepRecord]) -> str:
    states = {step.state for step in steps}
    for state in (StepState.FAILED, StepState.STOPPED, StepState.RUNNING):
        if state in states:
            return state.value
    if states == {StepState.SKIPPED}:
        return "skipped"
    if all(step.reused_from for step in steps):
        return "reused"
    kinds = {step.kind for step in steps}
    if kinds == {StepKind.EXPRESSION}:
        return "expression"
    return "sub-workflow" if kinds == {StepKind.WORKFLOW} else "step"


def _told(steps: list[StepRecord]) -> str:
    """How it went: time taken, and states where they differ from what goes without saying."""
    if len(steps) == 1:
        state = steps[0].state
        word = None if state is StepState.FINISHED else state.value
        code = f"exit code {steps[0].exit_code}" if state is StepState.FAILED and steps[0].exit_code is not None else ""
        return " · ".join(filter(None, (word, code, _time_taken(steps) if state is not StepState.SKIPPED else "")))
    counts = Counter(step.state for step in steps)
    told = [f"{counts[state]} {state.value}" for state in StepState if counts[state]]
    reused = sum(1 for step in steps if step.reused_from)
    return " · ".join(filter(None, (*told, f"{reused} reused" if reused else "", _time_taken(steps))))


def _time_taken(steps: list[StepRecord]) -> str:
    """From the first start to the last end, when all have ended."""
    ends = [step.ended_at for step in steps if step.ended_at is not None]
    if len(ends) < len(steps):
        return ""
    return labels.duration(max(0.0, (max(ends) - min(step.started_at for step in steps)).total_seconds()))


def _values(steps: list[StepRecord]) -> list[str]:
    """The values at the ports of a step; of a scatter those that all elements share."""
    shown: dict[str, str] = {}
    for port in dict.fromkeys(port for step in steps for port in step.literals):
        found = [labels.value(step.literals.get(port)) for step in steps]
        different = dict.fromkeys(found)
        if steps[0].literals.get(port) is not None or len(different) > 1:
            shown[port] = found[0] if len(different) == 1 else f"{len(different)} values"
    told = [
        labels.detail(f"{labels.plain(port, _VALUE_LIMIT)} = {labels.plain(text, _VALUE_LIMIT)}")
        for port, text in list(shown.items())[:_VALUES_SHOWN]
    ]
    more = len(shown) - _VALUES_SHOWN
    return [*told, labels.detail(f"and {more} more")] if more > 0 else told


def _failure(steps: list[StepRecord]) -> list[str]:
    """Why the first of the failed ones failed."""
    broken = next((step for step in steps if step.state is StepState.FAILED), None)
    if broken is None:
        return []
    last = labels.last_line(broken.stderr_tail or "") or labels.last_line(broken.error or "")
    return [labels.detail(last, style.NODES["failed"].border, limit=56)] if last else []


def _file_node(group: FileGroup, folded: Folded, *, is_used: bool) -> Node:
    first, several = group.files[0], len(group.files) > 1
    is_directory = all(file.kind is FileKind.DIRECTORY for file in group.files)
    outputs = ", ".join(group.output_ports)
    is_input = first.step is None and first.at is None and group.maker is None and not group.of_document
    place = "document" if group.of_document else "input" if is_input else "output" if outputs else ""
    ports = f"{group.port} · also output {outputs}" if is_input and outputs else outputs or group.port
    title = labels.pattern([file.basename for file in group.files]) if several else first.basename
    word = ("directories" if is_directory else "files") if several else ""
    parts = [
        labels.detail(f"{place} · {labels.plain(ports, 40)}", style.NODES[place].border) if place else "",
        labels.name(title + ("/" if is_directory else ""), suffix=f"{labels.times(len(group.files))} {word}".strip()),
        labels.detail(_file_detail(group, folded)),
    ]
    kind = (f"{place} directory" if place in {"input", "output"} else "directory") if is_directory else place or "file"
    frame = folded.frame_of.get(group.maker) if group.maker and not place else None
    return Node(labels.lines(parts), kind, frame, _rank(place, is_used=is_used), several)


def _rank(place: str, *, is_used: bool) -> str | None:
    """Inputs at the top, outputs at the bottom, but for those that a step below them uses."""
    return "source" if place == "input" else "sink" if place == "output" and not is_used else None


def _file_detail(group: FileGroup, folded: Folded) -> str:
    """Size, and digest or number of files."""
    own = sum(file.content.size_bytes for file in group.files if file.content)
    total = own + sum(folded.belonging_bytes[file.uuid] for file in group.files)
    inside = sum(folded.belonging[file.uuid] for file in group.files)
    told = [labels.size(total) if total or group.files[0].content else ""]
    if group.files[0].kind is FileKind.DIRECTORY:
        told.insert(0, f"{inside} files" if inside != 1 else "1 file")
    elif inside:
        told.append(f"with {inside} secondary")
    if len(group.files) == 1 and group.files[0].content:
        told.append(group.files[0].content.sha256[:_DIGEST_SHOWN])
    return " · ".join(filter(None, told))


def _connect_skipped(drawing: Drawing, facts: RunFacts, folded: Folded) -> None:
    """Hang steps that did not run below what the document would have given them."""
    made_at = {(key, group.port): file for file, group in folded.files.items() if (key := group.maker)}
    for key, steps in folded.steps.items():
        definition = facts.definitions.get(steps[0].path)
        if drawing.nodes[key].kind != "skipped" or definition is None:
            continue
        within = steps[0].path.rpartition("/")[0]
        for source in (source for entry in definition.inputs for source in entry.sources):
            maker, _, port = source.rpartition("/")
            step = f"step {maker if maker.startswith(f'{within}/') or not within else f'{within}/{maker}'}"
            tail = made_at.get((step, port)) or (step if step in folded.steps else None)
            if tail and tail != key:
                drawing.edges[tail, key, "unused"] = None


def _draw_output_values(drawing: Drawing, facts: RunFacts, folded: Folded) -> None:
    """Outputs of the run that are no files, below the step that the document takes them from."""
    makers = {steps[0].path: key for key, steps in folded.steps.items() if len(steps) == 1}
    sources = {port.id: port.sources for port in facts.run.revision.structure.outputs}
    for port, value in (facts.run.outputs or {}).items():
        if value is None or any(True for _ in files_in(value)) or _is_file(value):
            continue
        key = f"value {port}"
        told = [labels.detail(f"output · {labels.plain(port, 28)}", style.NODES["output"].border)]
        drawing.nodes[key] = Node(labels.lines([*told, labels.name(labels.value(value))]), "output", rank="sink")
        for source in sources.get(port, ()):
            maker = makers.get(source.rpartition("/")[0]) or (WHOLE_RUN if WHOLE_RUN in folded.steps else None)
            if maker:
                drawing.edges[maker, key, "generated"] = None


def _is_file(value: Json) -> bool:
    return isinstance(value, dict) and value.get("class") in {"File", "Directory"}
