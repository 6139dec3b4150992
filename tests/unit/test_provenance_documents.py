"""PROV-JSON and PROV-N of any run: by the official schema, by the ``prov`` library, and by our own checks."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from prov.model import ProvDocument

from stemma.provenance.build import build_graph
from stemma.provenance.check import problems
from stemma.provenance.prov_json import iterate_prov_json, lexical, to_prov_json
from stemma.provenance.prov_n import to_prov_n
from support import provenance_runs as runs
from support.provenance_any_run import any_run

SCHEMA = jsonschema.Draft4Validator(
    json.loads(Path(runs.__file__).with_name("prov-json.schema.json").read_text("utf-8"))
)
SAMPLES = [runs.two_steps(), runs.weather(), runs.failed(), runs.wide(5, 2), runs.chain(3), runs.directories()]

any_time = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def graph_of(run):
    return build_graph(run, runs.BASE_URL)


def read_json(graph):
    return ProvDocument.deserialize(content=to_prov_json(graph).decode(), format="json")


@any_time
@given(any_run())
def test_prov_json_of_any_run_when_validated_then_fits_the_official_schema_and_our_checks(run):
    graph = graph_of(run)
    SCHEMA.validate(json.loads(to_prov_json(graph)))
    assert problems(graph) == []


@any_time
@given(any_run())
def test_prov_json_of_any_run_when_read_by_prov_then_written_and_read_again_it_is_the_same(run):
    document = read_json(graph_of(run))
    again = ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    assert document == again
    assert len(document.unified().records) == len(document.records)


@any_time
@given(any_run())
def test_prov_json_of_any_run_when_read_by_prov_then_nothing_was_dropped(run):
    graph = graph_of(run)
    document = read_json(graph)
    elements = len(graph.entities) + len(graph.activities) + len(graph.agents)
    assert len(document.records) == elements + len(graph.relations)


@any_time
@given(any_run())
def test_prov_n_of_any_run_when_read_by_prov_then_says_what_prov_json_says(run):
    graph = graph_of(run)
    assert ProvDocument.deserialize(content=to_prov_n(graph), format="provn") == read_json(graph)


@any_time
@given(any_run())
def test_prov_n_of_any_run_when_written_then_is_one_line_a_statement(run):
    graph = graph_of(run)
    statements = len(graph.entities) + len(graph.activities) + len(graph.agents) + len(graph.relations)
    prefixes = len(graph.namespaces) - 2
    assert len(to_prov_n(graph).rstrip("\n").split("\n")) == statements + prefixes + 3


@any_time
@given(any_run())
def test_documents_of_any_run_when_made_twice_then_have_the_same_bytes(run):
    assert to_prov_json(graph_of(run)) == to_prov_json(graph_of(run))
    assert to_prov_n(graph_of(run)) == to_prov_n(graph_of(run))


@pytest.mark.parametrize("run", SAMPLES, ids=lambda run: f"{run.revision.name}-{len(run.steps)}")
def test_documents_of_a_sample_when_read_by_prov_then_are_whole_and_alike(run):
    graph = graph_of(run)
    SCHEMA.validate(json.loads(to_prov_json(graph)))
    assert problems(graph) == []
    assert ProvDocument.deserialize(content=to_prov_n(graph), format="provn") == read_json(graph)


def test_prov_json_when_iterated_then_is_the_same_document():
    graph = graph_of(runs.weather())
    assert b"".join(iterate_prov_json(graph)) == to_prov_json(graph)


@pytest.mark.parametrize("name", ["json", "jsonld", "provn"])
def test_prov_json_when_converted_by_prov_then_the_other_format_says_the_same(name):
    document = read_json(graph_of(runs.directories()))
    assert ProvDocument.deserialize(content=document.serialize(format=name), format=name) == document


@pytest.mark.filterwarnings("ignore:Dataset:DeprecationWarning")  # the RDF library warns of itself
def test_prov_json_when_converted_to_turtle_then_the_run_is_in_it():
    run = runs.two_steps()
    turtle = read_json(graph_of(run)).serialize(format="rdf", rdf_format="turtle")
    assert f"<urn:uuid:{run.uuid}>" in turtle or f"uuid:{run.uuid}" in turtle


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (2**31 - 1, ("2147483647", "xsd:int")),
        (2**31, ("2147483648", "xsd:long")),
        (-(2**31), ("-2147483648", "xsd:int")),
        (2**63, ("9223372036854775808", "xsd:integer")),
        (0.1, ("0.1", "xsd:double")),
        (float("inf"), ("INF", "xsd:double")),
        (float("-inf"), ("-INF", "xsd:double")),
        (float("nan"), ("NaN", "xsd:double")),
    ],
)
def test_number_when_written_then_has_the_type_that_its_size_asks_for(number, written):
    assert lexical(number) == written


def test_prov_n_when_a_step_name_ends_with_a_dot_then_it_is_escaped():
    scene = runs.Scene(10)
    scene.step("end.")
    graph = graph_of(scene.run(runs.structure()))
    assert r"registry:workflows/3/revisions/2#end\.," in to_prov_n(graph)
