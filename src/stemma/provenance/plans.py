"""What was to be done: the registry entry, its revision and the steps of the document, as plans."""

from stemma.provenance import names
from stemma.provenance.facts import RunFacts
from stemma.provenance.graph import ProvGraph, pairs, types
from stemma.provenance.vocabulary import (
    HAS_SUB_PROCESS,
    LABEL,
    PLAN,
    PROCESS,
    REVISION,
    TYPE,
    WORKFLOW,
    RelationKind,
    term,
)
from stemma.records import RevisionRecord, StepDefinition, StepKind


def declare_plans(graph: ProvGraph, facts: RunFacts) -> None:
    """Declare the registry entry, its revision with the one before, and every step of the document."""
    revision = facts.run.revision
    entry = names.workflow(revision)
    graph.entities[entry] = pairs((TYPE, term("RegistryEntry")), (LABEL, revision.name))
    graph.relate(RelationKind.ATTRIBUTION, entry, names.group(revision.group))
    _declare_revision(graph, revision)
    for definition in facts.definitions.values():
        _declare_step_definition(graph, revision, definition)
    for path in dict.fromkeys(step.path for step in facts.run.steps):
        if path not in facts.definitions:
            graph.entities[names.step_definition(revision, path)] = pairs(
                *types(PLAN, PROCESS), (LABEL, path.rpartition("/")[2]), (term("stepPath"), path)
            )


def _declare_revision(graph: ProvGraph, revision: RevisionRecord) -> None:
    name, entry = names.revision(revision, revision.number), names.workflow(revision)
    title = f"{revision.name}:{revision.version}"
    graph.entities[name] = pairs(
        *types(PLAN, WORKFLOW),
        (LABEL, title),
        (term("version"), revision.version),
        (term("revisionNumber"), revision.number),
        (term("createdAt"), revision.created_at),
        (term("bundleDigest"), f"sha256:{revision.digest}"),
        (term("mainPath"), revision.main_path),
        (term("cwlVersion"), revision.structure.cwl_version),
        *((HAS_SUB_PROCESS, names.step_definition(revision, step.path)) for step in revision.structure.steps),
    )
    graph.relate(RelationKind.SPECIALIZATION, name, entry)
    graph.relate(RelationKind.ATTRIBUTION, name, names.person(revision.created_by))
    if revision.number > 1:
        before = names.revision(revision, revision.number - 1)
        graph.entities[before] = pairs(*types(PLAN, WORKFLOW), (term("revisionNumber"), revision.number - 1))
        graph.relate(RelationKind.SPECIALIZATION, before, entry)
        graph.relate(RelationKind.DERIVATION, name, before, None, attributes=pairs(*types(REVISION)))


def _declare_step_definition(graph: ProvGraph, revision: RevisionRecord, definition: StepDefinition) -> None:
    is_workflow = definition.kind is StepKind.WORKFLOW
    graph.entities[names.step_definition(revision, definition.path)] = pairs(
        *types(PLAN, PROCESS, *((WORKFLOW,) if is_workflow else ())),
        (LABEL, definition.label or definition.path.rpartition("/")[2]),
        (term("stepPath"), definition.path),
        (term("stepKind"), definition.kind.value),
        (term("runs"), definition.run),
        (term("image"), definition.image),
        (term("conditional"), definition.conditional or None),
        *((term("scatter"), port) for port in definition.scatter),
        *((HAS_SUB_PROCESS, names.step_definition(revision, inner.path)) for inner in definition.steps),
    )
