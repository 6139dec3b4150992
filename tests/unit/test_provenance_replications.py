"""How inputs that came from elsewhere are told in the provenance."""

from dataclasses import replace

import pytest

from stemma.provenance import names
from stemma.provenance.build import build_graph
from stemma.provenance.check import problems
from stemma.provenance.prov_json import to_prov_json
from stemma.provenance.prov_n import to_prov_n
from stemma.provenance.vocabulary import LABEL, LOCATION, TYPE, RelationKind, term
from support import provenance_runs as runs
from support import timeline_runs as late


def graph_of(run):
    graph = build_graph(run, runs.BASE_URL)
    assert problems(graph) == []
    return graph


def told_of(run, basename):
    """The activity that brought a file, what its words say, what it read, and when it generated the file."""
    graph = graph_of(run)
    file = next(file for file in run.occurrences if file.basename == basename)
    record = next(one for one in run.replications if one.occurrence == file.uuid)
    name = names.minted(record.uuid)
    activity = graph.activities[name]
    read = [one.ends[1] for one in graph.relations if one.kind is RelationKind.USAGE and one.ends[0] == name]
    made = [one for one in graph.relations if one.kind is RelationKind.GENERATION and one.ends[1] == name]
    assert all(one.ends[0] == names.minted(file.uuid) for one in made)
    assert len(read) == 1
    return activity, dict(activity.attributes), graph.entities[read[0]], [one.time for one in made]


def test_replication_when_it_was_moved_then_says_from_where_how_much_and_how_verified():
    activity, words, source, made = told_of(late.overlapping(), "grid.nc")
    assert (activity.started_at, activity.ended_at) == (late.after(0.4), late.after(3.6))
    assert words[TYPE] == term("Replication")
    assert words[LABEL] == "replication of grid.nc"
    assert words[term("requestedAt")] == late.after(-3)
    assert words[term("sourceVersion")] == '"e1"'
    assert (words[term("movedBytes")], words[term("transfers")]) == (180 * late.MB, 1)
    assert (words[term("fromStore")], words[term("verified")]) == (False, "source")
    assert len(words[term("sha256")]) == 64
    assert dict(source)[LOCATION] == "s3://climate/2026/grid.nc"
    assert made == [late.after(3.6)]


def test_replication_when_it_was_in_the_store_then_nothing_moved_and_it_took_no_time():
    activity, words, _, made = told_of(late.overlapping(), "land-mask.nc")
    assert activity.started_at == activity.ended_at == late.after(-3)
    assert (words[term("fromStore")], words[term("movedBytes")], words[term("transfers")]) == (True, 0, 0)
    assert made == [late.after(-3)]


def test_replication_when_it_still_waits_then_it_generated_nothing():
    activity, words, _, made = told_of(late.going(), "third.bin")
    assert (activity.started_at, activity.ended_at) == (None, None)
    assert made == []
    assert term("verified") not in words
    assert term("sha256") not in words


def test_replication_when_it_failed_then_says_why_and_generated_nothing():
    run = late.failing()
    failed = next(one for one in run.replications if one.error == "there is no panel.vcf")
    assert failed.arrived_at is not None  # the moment at which it was given up
    _, words, _, made = told_of(run, "panel.vcf")
    assert words[term("error")] == "there is no panel.vcf"
    assert made == []


def test_replication_when_it_was_moved_again_then_says_how_often_and_is_generated_once():
    _, words, _, made = told_of(late.failing(), "index.bin")
    assert (words[term("transfers")], words[term("movedBytes")]) == (3, 360 * late.MB)
    assert made == [late.after(4.1)]


def test_replication_when_the_clock_went_back_then_it_does_not_end_before_it_began():
    run = late.overlapping()
    back = tuple(replace(one, arrived_at=late.after(-60)) if not one.was_here else one for one in run.replications)
    activity, _, _, made = told_of(replace(run, replications=back), "grid.nc")
    assert (activity.started_at, activity.ended_at) == (late.after(0.4), None)
    assert made == [None]


def test_source_when_two_inputs_came_from_it_then_is_one():
    run = late.overlapping()
    same = tuple(replace(one, source={**one.source, "url": "s3://climate/all"}) for one in run.replications)
    graph = graph_of(replace(run, replications=same))
    found = [name for name, words in graph.entities.items() if (TYPE, term("Source")) in words]
    assert len(found) == 1


def test_source_when_the_inputs_tell_more_of_it_then_that_is_kept():
    run = late.overlapping()
    one = run.replications[0]
    source = {"url": one.source["url"], "etag": '"e1"', "last_modified": "Sun, 01 Mar 2026 08:00:00 GMT"}
    value = {"class": "File", "stemma:occurrence": str(one.occurrence), "source": source}
    graph = graph_of(replace(run, inputs={"grid": value}))
    (found,) = [words for words in graph.entities.values() if (LOCATION, one.source["url"]) in words]
    assert (term("lastModified"), "Sun, 01 Mar 2026 08:00:00 GMT") in found
    assert len([words for words in found if words[0] == LOCATION]) == 1


@pytest.mark.parametrize("scene", [late.overlapping, late.failing, late.attempted, late.going, late.folder])
def test_documents_when_inputs_came_from_elsewhere_then_name_each_replication(scene):
    run = scene()
    graph = graph_of(run)
    document, notation = to_prov_json(graph).decode(), to_prov_n(graph)
    for one in run.replications:
        assert str(one.uuid) in document
        assert f"activity(uuid:{one.uuid}" in notation
