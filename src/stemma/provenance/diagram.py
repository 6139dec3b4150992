"""The diagram of a workflow as it is registered: what it asks for, its steps, what it gives."""

from stemma.provenance import labels
from stemma.provenance.drawing import Cluster, Drawing, Node, to_dot
from stemma.provenance.title import diagram_title
from stemma.records import Json, Port, StepDefinition, StepKind, WorkflowStructure


def diagram_of_workflow(structure: WorkflowStructure, title: str) -> str:
    """``structure`` in the DOT language, for ``render``."""
    drawing = Drawing()
    for port in structure.inputs:
        drawing.nodes[_input(port.id)] = _port_node(port, "input", "source")
    for step in structure.steps:
        _add_step(drawing, step, None)
    for port in structure.outputs:
        drawing.nodes[_output(port.id)] = _port_node(port, "output", "sink")
    sources = _Sources(structure)
    for step in structure.steps:
        _connect(drawing, sources, step, "")
    for port in structure.outputs:
        for source in port.sources:
            for tail in sources.makers(source, ""):
                _add_edge(drawing, tail, _output(port.id))
    counted = f"CWL {structure.cwl_version} {structure.cwl_class}, {_plural(len(structure.steps), 'step')}"
    drawing.title = diagram_title(title, counted, drawing)
    return to_dot(drawing)


class _Sources:
    """Where values come from, through sub-workflows that are drawn open."""

    def __init__(self, structure: WorkflowStructure) -> None:
        self._steps: dict[str, StepDefinition] = {}
        self._remember(structure.steps)

    def _remember(self, steps: tuple[StepDefinition, ...]) -> None:
        for step in steps:
            self._steps[step.path] = step
            self._remember(step.steps)

    def makers(self, source: str, within: str) -> list[str]:
        """The nodes that ``source``, as written in the workflow at path ``within``, comes from."""
        step_name, _, port = source.rpartition("/")
        if not step_name:
            return self._from_outside(port, within)
        for path in (f"{within}/{step_name}".lstrip("/"), step_name):
            if path in self._steps:
                return self._last_steps(self._steps[path])
        return []

    def _from_outside(self, port: str, within: str) -> list[str]:
        """An input of the workflow at ``within``: of the whole, or what its step is given at that port."""
        if not within:
            return [_input(port)]
        outer = within.rpartition("/")[0]
        given = [entry for entry in self._steps[within].inputs if entry.port == port]
        return [maker for entry in given for source in entry.sources for maker in self.makers(source, outer)]

    def _last_steps(self, step: StepDefinition) -> list[str]:
        """The step itself, or of a sub-workflow the steps in it whose results no other step in it takes."""
        if not step.steps:
            return [step.path]
        taken = {
            source.rpartition("/")[0].rpartition("/")[2]
            for inner in step.steps
            for entry in inner.inputs
            for source in entry.sources
        }
        last = [inner for inner in step.steps if inner.path.rpartition("/")[2] not in taken]
        return [maker for inner in last for maker in self._last_steps(inner)]


def _add_step(drawing: Drawing, step: StepDefinition, frame: str | None) -> None:
    own_name = step.path.rpartition("/")[2]
    marks = [
        f"scatter over {', '.join(step.scatter)}" if step.scatter else "",
        "only when its condition holds" if step.conditional else "",
    ]
    told = " · ".join(filter(None, marks))
    if step.steps:
        title = labels.name(own_name)
        drawing.clusters[step.path] = Cluster(
            f"<{title} {labels.detail(' · '.join(filter(None, ('sub-workflow', told))))}>", frame
        )
        for inner in step.steps:
            _add_step(drawing, inner, step.path)
        return
    parts = [
        labels.name(own_name),
        labels.detail(step.label) if step.label else "",
        labels.detail(told) if told else "",
        labels.detail(step.image) if step.image else "",
    ]
    drawing.nodes[step.path] = Node(labels.lines(parts), _kind(step), frame, many=bool(step.scatter))


def _kind(step: StepDefinition) -> str:
    if step.conditional:
        return "conditional"
    if step.kind is StepKind.WORKFLOW:
        return "sub-workflow"
    return "expression" if step.kind is StepKind.EXPRESSION else "step"


def _connect(drawing: Drawing, sources: _Sources, step: StepDefinition, within: str) -> None:
    """Arrows to ``step`` from what it takes; to the steps within when it is drawn open."""
    for inner in step.steps:
        _connect(drawing, sources, inner, step.path)
    if step.steps:
        return
    for entry in step.inputs:
        for source in entry.sources:
            for tail in sources.makers(source, within):
                _add_edge(drawing, tail, step.path)


def _add_edge(drawing: Drawing, tail: str, head: str) -> None:
    if tail in drawing.nodes and head in drawing.nodes:
        drawing.edges[tail, head, "flow"] = None


def _port_node(port: Port, place: str, rank: str) -> Node:
    optional = "" if port.required else " · optional"
    parts = [labels.name(port.label or port.id), labels.detail(f"{type_name(port.type)}{optional}")]
    return Node(labels.lines(parts), place, rank=rank, many=_is_array(port.type))


def type_name(type_: Json) -> str:
    """A CWL type in the short form that people write: ``File[]``, ``int or string``."""
    if isinstance(type_, list):
        return " or ".join(type_name(one) for one in type_ if one != "null") or "null"
    if not isinstance(type_, dict):
        return str(type_).rpartition("#")[2]
    if type_.get("type") == "array":
        return f"{type_name(type_.get('items'))}[]"
    if type_.get("type") == "enum":
        return "one of " + ", ".join(str(symbol).rpartition("/")[2] for symbol in type_.get("symbols", ()))
    return str(type_.get("type"))


def _is_array(type_: Json) -> bool:
    return type_name(type_).endswith("[]")


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _input(port: str) -> str:
    return f"\N{DOWNWARDS ARROW}{port}"


def _output(port: str) -> str:
    return f"\N{UPWARDS ARROW}{port}"
