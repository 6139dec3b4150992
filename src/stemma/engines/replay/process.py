"""The replay process: forked from a preloaded parent, it goes once through the document with the results there are.

It appends to the attempt's journal what is new, all of it or nothing, and can be asked again at any time: the same
results give the same facts. It holds no credentials and reaches no network. What it needs and does not have (the
bytes of a file that the document reads) it says in its answer; whoever asked fetches that and asks again.
"""

import contextlib
import gc
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from cwltool.errors import WorkflowException
from schema_salad.exceptions import SchemaSaladException

from stemma.engines.cwltool import journal_reader, process, run
from stemma.engines.cwltool.folder import AttemptFolder, RunLock, RunOrder
from stemma.engines.cwltool.identity import ProcessIdentity
from stemma.engines.cwltool.journal import Beginning
from stemma.engines.cwltool.last_errors import LastErrors
from stemma.engines.cwltool.nodes import find_node, use_node
from stemma.engines.cwltool.ports import FinalOutputs
from stemma.engines.protocol import JobState
from stemma.engines.replay import tools
from stemma.engines.replay.inputs import ReplayedInputs
from stemma.engines.replay.recorder import AppendedJournal, ReplayRecorder
from stemma.engines.replay.results import ELSEWHERE, RESULTS_FILE, Results, read_results
from stemma.forkserver import Channel
from stemma.records import Json

_MOST_NAMES = 3


def preload() -> Iterator[None]:
    """Load, in the parent, what every replay needs."""
    yield from process.preload()


def serve(channel: Channel) -> None:
    """Replay the attempt whose folder the message names; answer with ``ended`` and ``wanted``."""
    message = channel.receive()
    folder = AttemptFolder(Path(os.path.realpath(message["folder"])))
    lock = RunLock.take(folder.lock_file)
    if lock is None:
        channel.send({"busy": True})
        return
    answer = _replay(folder)
    lock.release()  # before anybody hears of it and asks for the next
    channel.send(answer)


def _replay(folder: AttemptFolder) -> dict[str, Json]:
    if journal_reader.ending(folder.journal) is not None:
        return {"ended": True, "wanted": []}
    order, results = folder.order(), read_results(folder.path / RESULTS_FILE)
    with _scratch(folder):
        _settle_in(folder)
        journal = AppendedJournal(folder.journal)
        if not journal_reader.has_begun(folder.journal):
            environment: dict[str, Json] = dict(results.environment)
            journal.write(Beginning(results.began_at, ProcessIdentity.own(), environment))
        recorder = ReplayRecorder(folder, journal, order.attempt, UUID(order.run_uuid), results)
        outcome = _go_through(order, folder, recorder)
        if recorder.trouble is not None:
            raise recorder.trouble  # nothing is written down; it is tried again later
        if recorder.wanted:
            return {"ended": False, "wanted": sorted(recorder.wanted)}
        if results.end is not None:
            _end(recorder, results, outcome)
            return {"ended": True, "wanted": []}
        journal.publish()
        return {"ended": False, "wanted": []}


@contextlib.contextmanager
def _scratch(folder: AttemptFolder) -> Iterator[None]:
    """Places of this replay's own for files; what a killed one left is removed.

    What expressions made of text stays, in ``out``: those bytes are nowhere else.
    """
    scratch = folder.path / "replay"
    for place in (scratch, folder.out):
        if place.exists():
            shutil.rmtree(place)
    folder.out.mkdir()
    for part in ("inputs", "tmp"):
        place = scratch / part
        place.mkdir(parents=True)
        object.__setattr__(folder, part, place)
    yield
    shutil.rmtree(scratch)


def _settle_in(folder: AttemptFolder) -> None:
    """Make the attempt's folder the process's world."""
    log = os.open(folder.engine_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(folder.path)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder.tmp)  # noqa: TID251 - what Node gets
    logger = logging.getLogger("cwltool")
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(logging.WARNING)
    gc.disable()


def _go_through(order: RunOrder, folder: AttemptFolder, recorder: ReplayRecorder) -> run.Outcome:
    """Go through the document as far as results are known."""
    logging.getLogger("cwltool").addHandler(LastErrors())
    node = use_node(find_node())
    try:
        return _run(order, folder, recorder)
    except (WorkflowException, SchemaSaladException) as error:
        logging.getLogger("cwltool").exception("the replay could not go on")
        return run.Outcome(JobState.FAILED, reason=run.reason_of(recorder, error))
    finally:
        node.close()


def _run(order: RunOrder, folder: AttemptFolder, recorder: ReplayRecorder) -> run.Outcome:
    tools.install()
    inputs = ReplayedInputs(recorder).of_value(order.inputs)
    document = run.load(folder, order, tools.make_process)
    executor = tools.ReplayExecutor()
    context = run.context_of(order, folder, recorder)
    context.select_resources = executor.select_resources
    context.use_container = False
    context.on_error = "continue"  # what took place elsewhere is recorded, whatever failed meanwhile
    context.make_fs_access = partial(tools.ReplayAccess, recorder, recorder.confinement)  # type: ignore[assignment]  # it is only ever called
    run.expand_formats(inputs, document)
    outputs, status = executor.execute(document, inputs, context)
    if status != "success":
        return run.Outcome(JobState.FAILED, reason=recorder.first_failure)
    final = OutputsElsewhere(recorder)
    plain = {port: final.of_value(value, port) for port, value in (outputs or {}).items()}
    return run.Outcome(JobState.FINISHED, plain)


def _end(recorder: ReplayRecorder, results: Results, outcome: run.Outcome) -> None:
    """End the journal: the run has finished only where its engine says so and its record does."""
    assert results.end is not None  # noqa: S101 - for the type checker: the caller has looked
    state, reason, outputs = JobState(results.end.state), results.end.reason, outcome.outputs
    if state is JobState.FAILED:
        reason = recorder.first_failure or reason
    elif state is JobState.FINISHED and outcome.state is not JobState.FINISHED:
        state = JobState.FAILED
        reason = outcome.reason or recorder.first_failure or _what_is_missing(recorder)
    elif state is JobState.FINISHED and (port := _disagreement(results, outcome.outputs or {})) is not None:
        state = JobState.FAILED
        reason = f"the engine came to other files at output {port!r} than its jobs left: its result cannot be trusted"
    recorder.moment = results.end.at
    finished = state is JobState.FINISHED
    recorder.end(state, outputs=outputs if finished else None, reason=None if finished else reason)


def _what_is_missing(recorder: ReplayRecorder) -> str:
    names = ", ".join(map(repr, recorder.missing[:_MOST_NAMES])) or "some step"
    return f"the engine says that the run finished, and tells nothing of {names}: its result cannot be trusted"


def _disagreement(results: Results, outputs: dict[str, Json]) -> str | None:
    """The port at which the engine itself tells of other files than the record has; None where nothing speaks for it.

    Only where all is known on both sides: it tells nothing of the members of folders.
    """
    for port, told in results.told.items():
        ours = list(_digests(outputs.get(port)))
        if None not in ours and all(told):
            known = [results.sha1.get(str(digest)) for digest in ours]
            if None not in known and sorted(map(str, known)) != sorted(told):
                return port
    return None


def _digests(value: Json) -> Iterator[str | None]:
    """The SHA-256 of each file in an output; None where there is a folder, which may hold any."""
    if isinstance(value, list):
        for part in value:
            yield from _digests(part)
    elif isinstance(value, dict):
        if value.get("class") == "Directory":
            yield None
        elif value.get("class") == "File":
            yield str(value["checksum"]).removeprefix("sha256:")
        for part in value.values():
            yield from _digests(part)


class OutputsElsewhere(FinalOutputs):
    """Makes the output object plain: where bytes are elsewhere, the engine's own word for the place."""

    def _own_path(self, known: Any, value: Any) -> str:
        place = known.place
        with contextlib.suppress(OSError):
            stand_in = self._recorder_of_replay.stand_in(place)
            if stand_in is not None:
                return ELSEWHERE + stand_in.place
        return super()._own_path(known, value)

    @property
    def _recorder_of_replay(self) -> ReplayRecorder:
        assert isinstance(self._recorder, ReplayRecorder)  # noqa: S101 - for the type checker: a replay has no other
        return self._recorder
