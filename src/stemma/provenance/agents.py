"""Who was responsible: people, groups, the engine, Stemma itself (PROV-DM §5.3)."""

from itertools import pairwise

from stemma import __version__
from stemma.provenance import names
from stemma.provenance.graph import ProvGraph, pairs, types
from stemma.provenance.vocabulary import (
    LABEL,
    ORGANIZATION,
    PERSON,
    ROLE,
    SOFTWARE_AGENT,
    WORKFLOW_ENGINE,
    QName,
    RelationKind,
    term,
)
from stemma.records import Person, RunRecord

SOFTWARE_VERSION = QName("schema:softwareVersion")


def engine_of(run: RunRecord) -> QName:
    """The engine that the run was given to."""
    return names.software(run.engine, run.engine_version)


def stemma() -> QName:
    """This service, at its version."""
    return names.software("stemma", __version__)


def declare_agents(graph: ProvGraph, run: RunRecord) -> None:
    """Declare everybody who had a part in ``run``."""
    _declare_person(graph, run.submitted_by)
    _declare_person(graph, run.revision.created_by)
    for group in (run.group, run.revision.group):
        graph.agents[names.group(group)] = pairs(*types(ORGANIZATION), (LABEL, group))
    graph.agents[stemma()] = pairs(*types(SOFTWARE_AGENT), (LABEL, "Stemma"), (SOFTWARE_VERSION, __version__))
    graph.agents[engine_of(run)] = pairs(
        *types(SOFTWARE_AGENT, WORKFLOW_ENGINE), (LABEL, run.engine), (SOFTWARE_VERSION, run.engine_version)
    )


def associate_with_run(graph: ProvGraph, run: RunRecord) -> None:
    """Say who did what in ``run``: somebody asked for it, for a group; Stemma gave it to the engine."""
    activity, user, engine = names.minted(run.uuid), names.person(run.submitted_by), engine_of(run)
    plan = names.revision(run.revision, run.revision.number)
    for agent, followed, role in ((user, plan, "submitter"), (stemma(), None, "registry"), (engine, plan, "engine")):
        graph.relate(RelationKind.ASSOCIATION, activity, agent, followed, attributes=pairs((ROLE, term(role))))
    chain = (engine, stemma(), user, names.group(run.group))
    for delegate, responsible in pairwise(chain):
        if delegate != responsible:
            graph.relate(RelationKind.DELEGATION, delegate, responsible, activity)


def _declare_person(graph: ProvGraph, someone: Person) -> None:
    graph.agents[names.person(someone)] = pairs(*types(PERSON), (LABEL, someone.username))
