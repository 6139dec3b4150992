"""What our own checks find wrong with a graph that is broken."""

from datetime import datetime, timedelta

import pytest

from stemma.provenance.check import problems
from stemma.provenance.graph import Activity, empty_graph, pairs
from stemma.provenance.vocabulary import EMPTY_COLLECTION, QName, RelationKind
from support import provenance_runs as runs

TYPE = QName("prov:type")
A, B, C = QName("uuid:a"), QName("uuid:b"), QName("uuid:c")


def broken(*, entities=(), activities=(), agents=()):
    graph = empty_graph(runs.BASE_URL)
    graph.entities |= dict.fromkeys(entities, ())
    graph.activities |= dict.fromkeys(activities, Activity(runs.BEGIN, runs.BEGIN, ()))
    graph.agents |= dict.fromkeys(agents, ())
    return graph


def related(graph, kind, *ends, **more):
    graph.relate(kind, *ends, **more)
    return graph


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - what must be found


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (broken(entities=[A], activities=[A]), "2 kinds of thing"),
        (broken(entities=[QName("nowhere:a")]), "no namespace"),
        (broken(entities=[QName("uuid:")]), "no local name"),
        (related(broken(entities=[A]), RelationKind.SPECIALIZATION, A, B), "not declared"),
        (related(broken(entities=[A], activities=[B]), RelationKind.GENERATION, B, A), "not declared"),
        (related(broken(entities=[A]), RelationKind.SPECIALIZATION, A, None), "has no prov:generalEntity"),
        (related(broken(entities=[A]), RelationKind.GENERATION, None, None), "has no prov:entity"),
        (related(broken(entities=[A, B]), RelationKind.SPECIALIZATION, A, B, time=runs.BEGIN), "has a time"),
        (related(broken(entities=[A], activities=[B]), RelationKind.GENERATION, A, B, time=NAIVE), "without a zone"),
        (
            related(broken(entities=[A], activities=[B]), RelationKind.GENERATION, A, B, time=runs.BEGIN + timedelta(1)),
            "not within",
        ),
        (related(broken(activities=[A]), RelationKind.START, A, None, None, time=runs.BEGIN + timedelta(1)), "not within"),
        (
            related(related(broken(activities=[A]), RelationKind.START, A, None, None), RelationKind.START, A, None, None),
            "started twice",
        ),
        (
            related(
                related(broken(entities=[A], activities=[B, C]), RelationKind.GENERATION, A, B),
                RelationKind.GENERATION, A, C,
            ),
            "generated twice",
        ),
        (related(broken(entities=[A]), RelationKind.DERIVATION, A, A, None), "circle of wasDerivedFrom"),
        (
            related(
                related(broken(entities=[A, B]), RelationKind.SPECIALIZATION, A, B), RelationKind.SPECIALIZATION, B, A
            ),
            "circle of specializationOf",
        ),
    ],
)  # fmt: skip
def test_problems_when_the_graph_is_broken_then_say_how(graph, said):
    assert [problem for problem in problems(graph) if said in problem]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (((QName("stemma:x"), None),), "no value"),
        (((QName("stemma:x"), NAIVE),), "without a zone"),
        (((QName("nowhere:x"), 1),), "prefix is not declared"),
        (((TYPE, QName("nowhere:X")),), "prefix is not declared"),
    ],
)
def test_problems_when_an_attribute_is_broken_then_say_how(attributes, said):
    graph = broken()
    graph.entities[A] = attributes
    assert [problem for problem in problems(graph) if said in problem]


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [(runs.BEGIN, runs.BEGIN - timedelta(1), "ends before"), (NAIVE, runs.BEGIN, "without a zone")],
)
def test_problems_when_an_activity_has_broken_times_then_say_how(begin, end, said):
    graph = broken()
    graph.activities[A] = Activity(begin, end, ())
    assert [problem for problem in problems(graph) if said in problem]


def test_problems_when_an_empty_collection_has_members_then_say_so():
    graph = related(broken(entities=[B]), RelationKind.MEMBERSHIP, A, B)
    graph.entities[A] = pairs((TYPE, EMPTY_COLLECTION))
    assert [problem for problem in problems(graph) if "has members" in problem]


def test_problems_when_a_derivation_is_long_and_wide_but_no_circle_then_are_none():
    graph = broken(entities=[QName(f"uuid:{n}") for n in range(5000)])
    for n in range(4998):
        for origin in (n + 1, n + 2):
            related(graph, RelationKind.DERIVATION, QName(f"uuid:{n}"), QName(f"uuid:{origin}"), None)
    assert problems(graph) == []
