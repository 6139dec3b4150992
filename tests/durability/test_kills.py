"""SIGKILL to workers, run processes, the API, or all of them, at random moments: nothing is lost, nothing runs twice.

Each run has some twenty steps, and each step leaves a mark of its own when it works, outside of Stemma. The short
form runs with the tests; STEMMA_KILL_TEST_SECONDS asks for a longer one.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from conftest import opened_installation
from stemma.auth.principal import Principal
from stemma.database.queries import recorded, runs
from stemma.database.tables import EventRow
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.register import register
from stemma.lifecycle.submit import Submission, submit
from stemma.lifecycle.validate import Upload
from stemma.provenance.build import build_graph
from stemma.provenance.check import problems
from stemma.records import RunRecord, StepKind
from stemma.states import RunState
from support.databases import KINDS
from support.killing import Service, chance, killing_seconds, run_states

ADA = Principal("sub-ada", "ada", ("group1",), frozenset({"reprov_user"}))
RUNS = 4
ELEMENTS = 18
DEADLINE_SECONDS = 240

WORKFLOW = b"""
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {marks: string, names: "string[]"}
outputs: {all: {type: File, outputSource: gather/all}}
steps:
  work:
    scatter: name
    in: {name: names, marks: marks}
    out: [piece]
    run:
      class: CommandLineTool
      requirements: {ShellCommandRequirement: {}}
      inputs: {name: string, marks: string}
      arguments:
        - shellQuote: false
          valueFrom: 'echo $(inputs.name) >> "$(inputs.marks)"; sleep 0.5; echo made $(inputs.name) > piece.txt'
      outputs: {piece: {type: File, outputBinding: {glob: piece.txt}}}
  gather:
    in: {pieces: work/piece}
    out: [all]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {pieces: {type: "File[]", inputBinding: {}}}
      stdout: all.txt
      outputs: {all: {type: stdout}}
"""


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with opened_installation(request.param, tmp_path / "home", lease_seconds=1.5, worker_slots=4) as opened:
        yield opened


def queue_runs(installation: Installation, folder: Path, count: int) -> list[int]:
    spec = Upload("main.cwl", WORKFLOW)
    registered = register(installation, ADA, name="marks", version="1", spec=spec)
    ids = []
    for number in range(count):
        inputs = {"marks": str(folder / f"marks-{number}"), "names": [f"n{index}" for index in range(ELEMENTS)]}
        ids.append(submit(installation, ADA, Submission(registered.workflow.id, inputs=inputs)).id)
    return ids


def wait_and_kill(service: Service, installation: Installation, ids: list[int], drawn: random.Random) -> Counter[str]:
    """Kill at random moments for a while from when the first run lives; return who was killed how often."""
    victims = ["worker 1", "worker 2", "api", "run process", "run process", "all"]
    killed: Counter[str] = Counter()
    seconds = killing_seconds(10)
    began, killing_until = time.monotonic(), None
    while time.monotonic() - began < DEADLINE_SECONDS + seconds:
        time.sleep(drawn.uniform(0.2, 1.2))
        if killing_until is None and service.run_processes():
            killing_until = time.monotonic() + seconds
        if killing_until is not None and time.monotonic() < killing_until:
            victim = drawn.choice(victims)
            service.kill(victim, drawn)
            killed[victim] += 1
        service.keep_alive()
        states = run_states(installation, ids)
        if all(state.is_terminal for state in states):
            return killed
    pytest.fail(f"runs did not end: {states}")


def check_run(installation: Installation, run: RunRecord, marks: Path) -> None:
    """It ended once; each attempt that lived to the end repeated nothing; its record is sound."""
    with installation.database.reading() as session:
        endings = session.execute(
            select(func.count())
            .select_from(EventRow)
            .where(
                EventRow.run_id == run.id,
                EventRow.step.is_(None),
                EventRow.state.in_([state.value for state in RunState if state.is_terminal]),
            ),
        ).scalar_one()
    assert endings == 1
    assert problems(build_graph(run, "http://localhost:8000")) == []
    assert all(step.state.is_terminal for step in run.steps)
    assert [attempt.number for attempt in run.attempts] == list(range(1, len(run.attempts) + 1))
    assert all(attempt.outcome == "lost" for attempt in run.attempts[:-1])
    done = Counter(marks.read_text().split()) if marks.exists() else Counter()
    assert max(done.values(), default=0) <= len(run.attempts)
    for attempt in run.attempts:
        keys = [step.key for step in run.steps if step.attempt == attempt.number]
        assert len(keys) == len(set(keys))
    if run.state is RunState.FINISHED:
        last = [step for step in run.steps if step.attempt == len(run.attempts) and step.kind is StepKind.TOOL]
        assert len(last) == ELEMENTS + 1
        assert set(done) == {f"n{index}" for index in range(ELEMENTS)}
        digest = run.outputs["all"]["checksum"].removeprefix("sha256:")
        text = installation.store.read(digest).decode()
        assert text == "".join(f"made n{index}\n" for index in range(ELEMENTS))
    else:
        assert run.state is RunState.FAILED
        assert len(run.attempts) == installation.settings.max_attempts
        assert "died in each of 3 attempts" in (run.reason or "")


@pytest.mark.timeout(600)
def test_runs_when_everything_is_killed_at_random_end_once_with_a_true_record(
    installation: Installation, tmp_path: Path
) -> None:
    drawn = chance()
    ids = queue_runs(installation, tmp_path, RUNS)
    service = Service(installation.settings)
    try:
        killed = wait_and_kill(service, installation, ids, drawn)
    finally:
        service.close()
    print(f"killed: {dict(killed)}")
    for number, run_id in enumerate(ids):
        with installation.database.reading() as session:
            run = recorded.run(session, run_id)
        print(f"run {run_id}: {run.state} after {len(run.attempts)} attempts, {len(run.steps)} steps")
        check_run(installation, run, tmp_path / f"marks-{number}")
    assert service.run_processes() == []


@pytest.mark.timeout(300)
def test_run_when_only_workers_are_killed_repeats_no_step(installation: Installation, tmp_path: Path) -> None:
    (run_id,) = queue_runs(installation, tmp_path, 1)
    service = Service(installation.settings)
    drawn = random.Random(1)
    try:
        for _ in range(3):
            time.sleep(1.0)
            service.kill("worker 1", drawn)
            service.kill("worker 2", drawn)
            service.keep_alive()
        for _ in range(300):
            time.sleep(0.2)
            with installation.database.reading() as session:
                if runs.get(session, run_id, ADA.groups).state.is_terminal:
                    break
    finally:
        service.close()
    with installation.database.reading() as session:
        run = recorded.run(session, run_id)
    assert run.state is RunState.FINISHED
    assert len(run.attempts) == 1, [attempt.reason for attempt in run.attempts]
    assert Counter((tmp_path / "marks-0").read_text().split()) == {f"n{index}": 1 for index in range(ELEMENTS)}
    check_run(installation, run, tmp_path / "marks-0")
