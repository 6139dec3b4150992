"""The shape of what an engine reported: steps, ports, digests and states, without ids and times."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from stemma.engines.protocol import Fact, FileSeen, FileUsed, StepEnded, StepStarted
from stemma.records import Occurrence

_TAG = "stemma:occurrence"


def shape_of(facts: Iterable[Fact], inputs: dict[str, Any], outputs: dict[str, Any] | None) -> dict[str, Any]:
    """What two runs of one document have in common, wherever they ran."""
    facts = list(facts)
    keys = {fact.uuid: fact.key for fact in facts if isinstance(fact, StepStarted)}
    files = {fact.occurrence.uuid: fact.occurrence for fact in facts if isinstance(fact, FileSeen)}
    names = {uuid: _name(file, keys) for uuid, file in files.items()} | _given(inputs, "")
    return {
        "steps": sorted(_step(fact, keys) for fact in facts if isinstance(fact, StepStarted)),
        "ends": sorted(
            (keys[fact.uuid], fact.state.value, str(fact.exit_code)) for fact in facts if isinstance(fact, StepEnded)
        ),
        "files": sorted((*names[uuid], *_origin(file, names)) for uuid, file in files.items()),
        "used": sorted(
            (keys[fact.usage.step], fact.usage.port, fact.usage.position, *map(str, names[fact.usage.occurrence]))
            for fact in facts
            if isinstance(fact, FileUsed)
        ),
        "outputs": _plain(outputs, names),
    }


def _step(fact: StepStarted, keys: dict[UUID, str]) -> tuple[str, ...]:
    parent = keys[fact.parent] if fact.parent is not None else ""
    literals = str(sorted(fact.literals.items(), key=str))
    return fact.key, fact.path, fact.kind.value, parent, str(fact.scatter_index), literals


def _name(file: Occurrence, keys: dict[UUID, str]) -> tuple[str, ...]:
    step = keys[file.step] if file.step is not None else ""
    content = f"{file.content.sha256}:{file.content.size_bytes}" if file.content is not None else ""
    return step, file.port, file.position, file.kind.value, file.basename, content


def _origin(file: Occurrence, names: dict[UUID, tuple[str, ...]]) -> tuple[str, ...]:
    parent = names[file.parent] if file.parent is not None else ()
    return str(parent), str(sorted(names[uuid] for uuid in file.derived_from))


def _given(value: Any, place: str) -> dict[UUID, tuple[str, ...]]:
    """The names of the files that were given to the run."""
    if isinstance(value, list):
        return {uuid: name for i, part in enumerate(value) for uuid, name in _given(part, f"{place}[{i}]").items()}
    if not isinstance(value, dict):
        return {}
    found = {uuid: name for key, part in value.items() for uuid, name in _given(part, f"{place}.{key}").items()}
    if _TAG in value:
        found[UUID(value[_TAG])] = ("given", place)
    return found


def _plain(value: Any, names: dict[UUID, tuple[str, ...]]) -> Any:
    if isinstance(value, list):
        return [_plain(part, names) for part in value]
    if not isinstance(value, dict):
        return value
    plain = {key: _plain(part, names) for key, part in value.items() if key not in {_TAG, "location"}}
    return plain | ({"is": names[UUID(value[_TAG])]} if _TAG in value else {})
