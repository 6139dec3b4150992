"""What the graph of a run says, fact by fact."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings

from stemma import __version__
from stemma.provenance import names
from stemma.provenance.build import build_graph
from stemma.provenance.check import problems
from stemma.provenance.graph import JsonText, json_value
from stemma.provenance.vocabulary import (
    EMPTY_COLLECTION,
    PROCESS_RUN,
    WORKFLOW_RUN,
    QName,
    RelationKind,
    path,
    segment,
    term,
)
from stemma.records import AttemptRecord
from stemma.states import RunState
from support import provenance_runs as runs
from support.provenance_any_run import any_run

TYPE, VALUE, ROLE = QName("prov:type"), QName("prov:value"), QName("prov:role")
REVISION = QName("registry:workflows/3/revisions/2")


def graph_of(run):
    return build_graph(run, runs.BASE_URL)


def ends_of(graph, kind):
    return {relation.ends for relation in graph.relations if relation.kind is kind}


def values_of(attributes, name):
    return [value for found, value in attributes if found == name]


def step_named(run, name):
    return next(step for step in run.steps if step.path == name)


def file_named(run, name):
    return next(file for file in run.occurrences if file.basename == name)


def of_step(run, name):
    return names.minted(step_named(run, name).uuid)


def of_file(run, name):
    return names.minted(file_named(run, name).uuid)


def test_revision_when_it_is_not_the_first_then_revises_the_one_before_and_is_attributed():
    graph = graph_of(runs.two_steps())
    before, entry = QName("registry:workflows/3/revisions/1"), QName("registry:workflows/3")
    assert (REVISION, before, None) in ends_of(graph, RelationKind.DERIVATION)
    assert {(REVISION, entry), (before, entry)} <= ends_of(graph, RelationKind.SPECIALIZATION)
    assert (REVISION, QName("registry:users/77aa-grace")) in ends_of(graph, RelationKind.ATTRIBUTION)
    assert QName("prov:Plan") in values_of(graph.entities[REVISION], TYPE)


def test_revision_when_it_is_the_first_then_revises_none():
    graph = graph_of(replace(runs.two_steps(), revision=runs.revision(runs.structure(), number=1)))
    assert ends_of(graph, RelationKind.DERIVATION) == set()


def test_run_when_built_then_is_associated_with_who_asked_and_with_the_engine_by_plan():
    run = runs.two_steps()
    graph, activity = graph_of(run), names.minted(run.uuid)
    user, engine = QName("registry:users/5f1c-ada"), QName("registry:software/cwltool/3.3.20260925135507")
    stemma, group = QName(f"registry:software/stemma/{__version__}"), QName("registry:groups/climate")
    assert {(activity, user, REVISION), (activity, engine, REVISION)} <= ends_of(graph, RelationKind.ASSOCIATION)
    assert ends_of(graph, RelationKind.DELEGATION) == {
        (engine, stemma, activity),
        (stemma, user, activity),
        (user, group, activity),
    }
    assert values_of(graph.activities[activity].attributes, TYPE) == [WORKFLOW_RUN]


def test_step_when_built_then_follows_its_plan_and_is_started_by_the_run_at_its_own_start():
    run = runs.two_steps()
    graph = graph_of(run)
    plan = QName(f"{REVISION}#count")
    engine = QName("registry:software/cwltool/3.3.20260925135507")
    assert (of_step(run, "count"), engine, plan) in ends_of(graph, RelationKind.ASSOCIATION)
    start = next(
        one for one in graph.relations if one.kind is RelationKind.START and one.ends[0] == of_step(run, "count")
    )
    assert start.ends == (of_step(run, "count"), None, names.minted(run.uuid))
    assert start.time == step_named(run, "count").started_at


def test_step_when_it_used_what_another_made_then_is_informed_by_it():
    run = runs.two_steps()
    assert ends_of(graph_of(run), RelationKind.COMMUNICATION) == {(of_step(run, "count"), of_step(run, "sort"))}


def test_step_of_a_sub_workflow_when_built_then_is_started_by_it():
    run = runs.weather()
    graph = graph_of(run)
    inner = next(step for step in run.steps if step.key == "by_year[2]/select")
    outer = next(step for step in run.steps if step.key == "by_year[2]")
    assert (names.minted(inner.uuid), None, names.minted(outer.uuid)) in ends_of(graph, RelationKind.START)
    assert values_of(graph.activities[names.minted(outer.uuid)].attributes, TYPE) == [PROCESS_RUN, WORKFLOW_RUN]
    assert values_of(graph.activities[names.minted(outer.uuid)].attributes, term("scatterIndex")) == ["2"]


def test_step_when_it_was_skipped_then_has_its_type():
    run = runs.weather()
    attributes = graph_of(run).activities[of_step(run, "outliers")].attributes
    assert term("SkippedStep") in values_of(attributes, TYPE)


def test_step_when_it_failed_then_says_exit_code_and_last_words():
    run = runs.failed()
    attributes = graph_of(run).activities[of_step(run, "align")].attributes
    assert values_of(attributes, term("exitCode")) == [137]
    assert values_of(attributes, term("error")) == ["the tool ended with exit code 137"]
    assert "Killed: out of memory" in values_of(attributes, term("stderrTail"))[0]
    assert values_of(attributes, term("memoryPeakBytes")) == [16_000_000_000]


def test_step_when_its_result_was_reused_then_points_at_the_original_and_its_files():
    run = runs.failed()
    graph, index = graph_of(run), step_named(run, "index")
    original, old = names.minted(index.reused_from), names.minted(file_named(run, "GRCh38.fa.idx").derived_from[0])
    assert term("CacheHit") in values_of(graph.activities[of_step(run, "index")].attributes, TYPE)
    assert (of_step(run, "index"), original) in ends_of(graph, RelationKind.COMMUNICATION)
    assert (of_file(run, "GRCh38.fa.idx"), old) in ends_of(graph, RelationKind.ALTERNATE)
    assert (of_file(run, "GRCh38.fa.idx"), old, of_step(run, "index")) in ends_of(graph, RelationKind.DERIVATION)
    assert values_of(graph.activities[original].attributes, term("ofAnotherRun")) == [True]


def test_file_when_built_then_is_a_specialization_of_its_bytes_and_generated_at_its_port():
    run = runs.two_steps()
    graph, file = graph_of(run), file_named(run, "sorted.txt")
    content = QName(f"hash:{file.content.sha256}")
    assert (names.minted(file.uuid), content) in ends_of(graph, RelationKind.SPECIALIZATION)
    assert values_of(graph.entities[content], term("sizeBytes")) == [48_211]
    made = next(
        one
        for one in graph.relations
        if one.kind is RelationKind.GENERATION and one.ends[0] == of_file(run, "sorted.txt")
    )
    assert made.ends[1] == of_step(run, "sort")
    assert made.time == file.at
    assert values_of(made.attributes, ROLE) == ["sorted"]


def test_files_when_two_have_the_same_bytes_then_are_two_things_of_one_content():
    scene = runs.Scene(9)
    step = scene.step("copy", [("in", scene.input("in", "a.txt", content=runs.content("same")))])
    scene.file("a.txt", "out", step, content=runs.content("same"))
    graph = graph_of(scene.run(runs.structure()))
    content = QName(f"hash:{runs.content('same').sha256}")
    assert sum(general == content for _, general in ends_of(graph, RelationKind.SPECIALIZATION)) == 2
    assert problems(graph) == []


def test_file_when_its_time_is_not_within_its_step_then_the_time_is_told_apart():
    run = runs.two_steps()
    late = runs.BEGIN + timedelta(days=2)
    files = tuple(replace(file, at=late) if file.step else file for file in run.occurrences)
    graph = graph_of(replace(run, occurrences=files))
    assert values_of(graph.entities[of_file(run, "sorted.txt")], term("recordedAt")) == [late]
    assert problems(graph) == []


def test_activity_when_its_clock_went_back_then_the_end_is_told_apart():
    run = runs.two_steps()
    early = runs.BEGIN - timedelta(hours=1)
    graph = graph_of(replace(run, ended_at=early))
    activity = graph.activities[names.minted(run.uuid)]
    assert activity.ended_at is None
    assert values_of(activity.attributes, term("recordedEnd")) == [early]


def test_directory_when_it_has_members_then_is_a_collection_and_else_an_empty_one():
    run = runs.directories()
    graph = graph_of(run)
    inside = [file for file in run.occurrences if file.parent == file_named(run, "small").uuid]
    members = ends_of(graph, RelationKind.MEMBERSHIP)
    assert len(inside) == 12
    assert all((of_file(run, "small"), names.minted(file.uuid)) in members for file in inside)
    assert EMPTY_COLLECTION not in values_of(graph.entities[of_file(run, "small")], TYPE)
    assert EMPTY_COLLECTION in values_of(graph.entities[of_file(run, "rejected")], TYPE)


def test_secondary_file_when_built_then_is_derived_from_its_primary():
    run = runs.directories()
    derived = ends_of(graph_of(run), RelationKind.DERIVATION)
    assert (of_file(run, "calls.bam.bai"), of_file(run, "calls.bam"), None) in derived


def test_array_when_a_step_made_it_then_is_a_collection_that_the_step_generated():
    run = runs.directories()
    graph, call = graph_of(run), step_named(run, "call")
    array = names.part_of(call.uuid, "array:calls")
    members = {member for collection, member in ends_of(graph, RelationKind.MEMBERSHIP) if collection == array}
    assert members == {of_file(run, f"chr{n}.vcf") for n in range(5)}
    assert (array, names.minted(call.uuid)) in ends_of(graph, RelationKind.GENERATION)


def test_run_inputs_when_built_then_are_used_by_the_run_at_their_ports():
    run = runs.weather()
    graph, activity = graph_of(run), names.minted(run.uuid)
    used = [one for one in graph.relations if one.kind is RelationKind.USAGE and one.ends[0] == activity]
    roles = [values_of(one.attributes, ROLE)[0] for one in used]
    assert roles.count("stations") == 4  # three files and the array of them
    title = next(one.ends[1] for one in used if values_of(one.attributes, ROLE) == ["title"])
    assert values_of(graph.entities[title], VALUE) == ["Mean temperature by year"]
    years = next(one.ends[1] for one in used if values_of(one.attributes, ROLE) == ["years"])
    assert values_of(graph.entities[years], VALUE) == [JsonText("[2021, 2022, 2023, 2024]")]


def test_run_inputs_when_a_file_is_not_on_record_then_it_is_declared_and_said_to_be_so():
    run = replace(runs.two_steps(), inputs={"x": {"class": "File", "stemma:occurrence": str(UUID(int=7))}})
    graph = graph_of(run)
    assert values_of(graph.entities[names.minted(UUID(int=7))], term("ofAnotherRun")) == [True]
    assert problems(graph) == []


def test_run_outputs_when_built_then_are_members_of_what_the_run_generated():
    run = runs.weather()
    graph = graph_of(run)
    outputs = names.part_of(run.uuid, "outputs")
    members = {member for collection, member in ends_of(graph, RelationKind.MEMBERSHIP) if collection == outputs}
    hottest = names.part_of(run.uuid, "output:hottest")
    assert members == {of_file(run, "chart.png"), of_file(run, "by-year.csv"), hottest}
    assert values_of(graph.entities[hottest], VALUE) == [2024]
    assert (outputs, names.minted(run.uuid)) in ends_of(graph, RelationKind.GENERATION)
    assert values_of(graph.entities[of_file(run, "chart.png")], term("outputPort")) == ["chart"]


def test_step_values_when_the_port_is_an_output_then_are_generated():
    run = runs.weather()
    graph, pick = graph_of(run), step_named(run, "pick")
    value = names.part_of(pick.uuid, "literal:hottest")
    assert (value, names.minted(pick.uuid)) in ends_of(graph, RelationKind.GENERATION)


def test_step_values_when_they_are_null_then_are_left_out():
    run = runs.two_steps()
    nothing = replace(run.steps[0], literals={"reverse": None, "empty": []})
    graph = graph_of(replace(run, steps=(nothing, *run.steps[1:])))
    assert names.part_of(nothing.uuid, "literal:reverse") not in graph.entities
    assert values_of(graph.entities[names.part_of(nothing.uuid, "literal:empty")], VALUE) == [JsonText("[]")]


def test_values_when_they_hold_files_then_paths_of_the_machine_are_left_out():
    mixed = {"n": 1, "f": {"class": "File", "basename": "a", "location": "file:///secret/a"}}
    graph = graph_of(replace(runs.two_steps(), inputs={"record": mixed}))
    assert not any("secret" in str(value) for _, attributes in graph.all_attributes() for _, value in attributes)


def test_attempts_when_there_were_two_then_each_is_an_activity_with_its_steps_and_environment():
    run = runs.two_steps()
    second = AttemptRecord(2, UUID(int=2), "worker-2", run.ended_at, None, environment={"host": "node8", "none": None})
    again = replace(run.steps[0], uuid=UUID(int=3), attempt=2, started_at=run.ended_at, ended_at=None)
    graph = graph_of(replace(run, attempts=(*run.attempts, second), steps=(*run.steps, again)))
    first_name, second_name = names.minted(run.attempts[0].uuid), names.minted(second.uuid)
    informed = ends_of(graph, RelationKind.COMMUNICATION)
    assert (second_name, first_name) in informed
    assert (names.minted(again.uuid), of_step(run, "sort")) in informed
    starts = ends_of(graph, RelationKind.START)
    assert {(of_step(run, "sort"), None, first_name), (names.minted(again.uuid), None, second_name)} <= starts
    assert (second_name, None, names.minted(run.uuid)) in starts
    environment = graph.entities[names.part_of(second.uuid, "environment")]
    assert values_of(environment, QName("environment:host")) == ["node8"]
    assert problems(graph) == []


def test_attempts_when_there_was_one_then_it_is_the_run_itself():
    run = runs.two_steps()
    graph = graph_of(run)
    assert names.minted(run.attempts[0].uuid) not in graph.activities
    environment = names.part_of(run.attempts[0].uuid, "environment")
    assert (names.minted(run.uuid), environment) in ends_of(graph, RelationKind.USAGE)


def test_image_when_its_digest_is_known_then_the_steps_used_it():
    run = runs.weather()
    graph, image = graph_of(run), QName(f"hash:{'ab' * 32}")
    users = {activity for activity, entity in ends_of(graph, RelationKind.USAGE) if entity == image}
    assert len(users) == 3
    assert values_of(graph.entities[image], TYPE) == [term("ContainerImage")]


@pytest.mark.parametrize("state", list(RunState))
def test_run_when_it_has_not_ended_then_is_marked(state):
    run = replace(runs.two_steps(), state=state)
    attributes = graph_of(run).activities[names.minted(run.uuid)].attributes
    assert values_of(attributes, term("unfinished")) == ([] if state.is_terminal else [True])


def test_run_when_it_was_deleted_then_is_marked():
    run = replace(runs.two_steps(), state=RunState.DELETED, deleted_at=runs.BEGIN + timedelta(days=1))
    attributes = graph_of(run).activities[names.minted(run.uuid)].attributes
    assert values_of(attributes, term("deletedAt")) == [run.deleted_at]
    assert values_of(attributes, term("state")) == ["deleted"]


@pytest.mark.parametrize("change", ["generated by", "used by", "parent", "folder"])
def test_graph_when_the_record_refers_to_what_it_does_not_hold_then_is_refused(change):
    run, stranger = runs.two_steps(), UUID(int=99)
    changed = {
        "generated by": {"occurrences": (replace(run.occurrences[1], step=stranger),)},
        "used by": {"usages": (replace(run.usages[0], step=stranger),)},
        "parent": {"steps": (replace(run.steps[0], parent=stranger), run.steps[1])},
        "folder": {"occurrences": (*run.occurrences, replace(run.occurrences[0], uuid=UUID(int=98), parent=stranger))},
    }[change]
    with pytest.raises(ValueError, match=str(stranger)):
        graph_of(replace(run, **changed))


@settings(deadline=None, max_examples=40)
@given(any_run())
def test_files_of_any_run_when_built_then_each_is_generated_once_at_most(run):
    generated = [one.ends[0] for one in graph_of(run).relations if one.kind is RelationKind.GENERATION]
    assert len(generated) == len(set(generated))


@pytest.mark.parametrize("base_url", ["http://x y", "http://<x>", 'http://"', "http://x\n"])
def test_graph_when_the_base_url_cannot_begin_an_identifier_then_is_refused(base_url):
    with pytest.raises(ValueError, match="cannot begin"):
        build_graph(runs.two_steps(), base_url)


@pytest.mark.parametrize(
    ("text", "written"),
    [("a b", "a%20b"), ("a/b:c#d", "a%2Fb%3Ac%23d"), ("..", "%2E%2E"), ("1.2.0", "1.2.0"), ("\ud800", "%ED%A0%80")],
)
def test_segment_when_given_any_text_then_is_one_step_of_a_path(text, written):
    assert segment(text) == written
    assert path(f"{'x'}/{text}").startswith("x/")


def test_json_value_when_given_half_a_character_then_it_is_replaced():
    assert json_value("a\ud800b") == "a\N{REPLACEMENT CHARACTER}b"
    assert json_value(["\ud800"]) == '["\N{REPLACEMENT CHARACTER}"]'
