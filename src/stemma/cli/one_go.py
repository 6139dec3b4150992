"""One workflow in one go: registered, run, watched, its outputs fetched, its provenance drawn."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stemma.cli.access import Access, access
from stemma.cli.console import error_console, report, say, sized
from stemma.errors import DuplicateWorkflow, EngineUnsuitable, Finding, InvalidDocument, RunEnded, StemmaError
from stemma.states import RunState

if TYPE_CHECKING:
    from rich.progress import Progress

    from stemma.cli.job import Job
    from stemma.cli.spec import Spec
    from stemma.client import Client, Registered, Run

_UNSUITED_TO_NAMES: Final = re.compile(r"[^\w.-]+")
_SHOWN_FROM_BYTES: Final = 1_000_000
"""Transfers below are over before anybody could read how far they are."""
RUN_FAILED: Final = 1
_JOB_REQUIREMENTS: Final = "cwl:requirements"
_UNSUPPORTED_RULES: Final = frozenset({"cwl/operation", "cwl/unknown-requirement"})
"""What is wrong with documents that are good CWL for somebody else; CWL runners call them unsupported."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be run, and how."""

    document: str
    arguments: tuple[str, ...] = ()
    outdir: Path = Path()
    quiet: bool = False
    picture: bool = True
    name: str | None = None
    version: str = "dev"
    group: str | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it."""

    run: "Run"
    outputs: dict[str, Any] | None
    """As ``cwltool`` prints it; None when the run did not finish."""
    picture: Path | None


def run_in_one_go(wish: Wish, url: str | None, user: str | None) -> int:
    """Do all of it and print the output object; the exit code."""
    try:
        with access(url, user) as way:
            outcome = make(way, wish)
    except InvalidDocument as error:
        if any(finding.rule not in _UNSUPPORTED_RULES for finding in error.findings):
            raise
        report(error)
        return EngineUnsuitable.exit_code
    if outcome.outputs is None:
        return RUN_FAILED
    print_cwl(outcome.outputs)
    return 0


def make(way: Access, wish: Wish) -> Outcome:
    """Run the workflow of ``wish`` to its end and fetch what it gave; a failure is reported on standard error.

    Raises:
        StemmaError: it is refused, or cannot be reached.
    """
    from stemma.cli.secondary import secondary_patterns  # noqa: PLC0415 - loaded while a service starts
    from stemma.cli.spec import read_spec  # noqa: PLC0415 - see above

    spec = read_spec(wish.document)
    job_file, parameters = split_arguments(wish.arguments)
    registered = _register(way.client, spec, wish)
    structure = way.client.workflows.structure(registered.id, revision=registered.revision)["structure"]
    patterns = secondary_patterns(spec.path.read_bytes(), spec.fragment)
    job = job_of(job_file, parameters, structure["inputs"], patterns, drop_unknown=True)
    run = submit_job(way.client, registered.id, job, revision=registered.revision, engine=wish.engine, quiet=wish.quiet)
    ended = _watched(way, run, structure["steps"], quiet=wish.quiet)
    return _gathered(way.client, ended, wish, wish.name or spec.stem)


def split_arguments(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The job file, which comes first where there is one, and the parameters."""
    if arguments and not arguments[0].startswith("-"):
        return Path(arguments[0]), list(arguments[1:])
    return None, list(arguments)


def job_of(
    job_file: Path | None,
    parameters: Sequence[str],
    inputs: Sequence[Mapping[str, Any]],
    patterns: Mapping[str, list[str]],
    *,
    drop_unknown: bool = False,
) -> "Job":
    """The job of a file and of parameters, which win; the paths of each are seen from where it stands.

    With ``drop_unknown``, what a job file says beyond the workflow's inputs is left out with a word, as CWL runners do.

    Raises:
        InvalidInputs, InvalidRequest: they will not do.
    """
    from stemma.cli.job import make_job, read_job  # noqa: PLC0415 - loaded while a service starts
    from stemma.cli.parameters import parse_parameters  # noqa: PLC0415 - see above

    given = parse_parameters(parameters, inputs)
    written = {name: value for name, value in (read_job(job_file) if job_file else {}).items() if name not in given}
    if drop_unknown:
        written = _known(written, {str(port["id"]) for port in inputs})
    base = job_file.absolute().parent if job_file else Path.cwd()
    return make_job([(written, base), (given, Path.cwd())], patterns)


def _known(written: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """What ``written`` says of inputs that there are.

    Raises:
        EngineUnsuitable: it asks for what would change the run, and is not supported.
    """
    if _JOB_REQUIREMENTS in written:
        message = f"{_JOB_REQUIREMENTS} in a job file is not supported; state the requirements in the document"
        raise EngineUnsuitable("cwltool", [Finding(message, "inputs/requirements")])
    for name in written:
        if name not in names:
            say(f"{name}: the workflow has no such input; left out", style="yellow")
    return {name: value for name, value in written.items() if name in names}


def submit_job(
    client: "Client",
    workflow_id: int,
    job: "Job | None",
    *,
    revision: int | None = None,
    engine: str | None = None,
    quiet: bool = False,
) -> "Run":
    """Queue a run of ``job`` (None for the inputs registered with the workflow), sending its files along."""
    files, inputs = (job.files, job.inputs) if job else ([], None)
    with transfer("sending inputs", job.size_bytes if job else 0, quiet=quiet) as bar:
        return client.runs.submit(
            workflow_id, inputs=inputs, files=files, revision=revision, engine=engine, progress=_into(bar)
        )


def fetch_outputs(client: "Client", run: "Run", outdir: Path, *, quiet: bool) -> dict[str, Any]:
    """Bring the outputs of a finished run into ``outdir``; the output object with their places.

    Raises:
        RunNotEnded: it goes on, or gave none.
        UnsafeOutput, CannotWrite: they cannot be put there.
    """
    from stemma.cli.outputs import Collector  # noqa: PLC0415 - loaded when there are outputs
    from stemma.errors import RunNotEnded  # noqa: PLC0415 - see above

    if run.outputs is None:
        raise RunNotEnded(run.id, run.state.value)
    total, done = _size_of(run.outputs), dict[str, int]()
    with transfer("fetching outputs", total, quiet=quiet) as bar:
        move = _into(bar)

        def told(key: str, through: int, _: int | None) -> None:
            done[key] = through
            if move is not None:
                move(sum(done.values()), total)

        return Collector(client, outdir.absolute(), told).collect(run.outputs)


def transfer(title: str, size_bytes: int, *, quiet: bool) -> "Progress | nullcontext[None]":
    """A bar for a transfer that is worth one, on a terminal; else nothing."""
    if quiet or size_bytes < _SHOWN_FROM_BYTES or not error_console().is_terminal:
        return nullcontext()
    from rich.progress import (  # noqa: PLC0415 - a terminal pays for it
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(28), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, console=error_console(), transient=True)
    bar.add_task(title, total=size_bytes)
    return bar


def print_cwl(outputs: Mapping[str, Any]) -> None:
    """The output object on standard output, as ``cwltool`` prints it."""
    import json  # noqa: PLC0415 - loaded when there are outputs

    print(json.dumps(outputs, indent=4, ensure_ascii=False))


def _into(bar: Any) -> Any:
    if bar is None:
        return None
    task = bar.task_ids[0]
    return lambda through, total: bar.update(task, completed=through, total=total)


def _size_of(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_size_of, value))
    if not isinstance(value, dict):
        return 0
    own = int(value.get("size") or 0) if value.get("class") == "File" else 0
    return own + sum(map(_size_of, value.values()))


def _register(client: "Client", spec: "Spec", wish: Wish) -> "Registered":
    """Register the document, or update what is registered under that name and version."""
    name = wish.name or spec.stem
    try:
        done = client.workflows.register(
            name=name, version=wish.version, spec=spec.attachment, main=spec.main, group=wish.group
        )
    except DuplicateWorkflow:
        known = client.workflows.find(name, wish.version, wish.group)
        done = client.workflows.update(known.id, spec=spec.attachment, main=spec.main)
    if not wish.quiet:
        for warning in done.warnings:
            say(f"warning: {warning}", style="yellow")
    return done


def _watched(way: Access, run: "Run", steps: Sequence[Any], *, quiet: bool) -> "Run":
    """The run at its end. Ctrl-C stops one that nobody else would go on with."""
    from stemma.cli.watching import watch  # noqa: PLC0415 - loaded when the run is queued

    try:
        return watch(way.client, run, quiet=quiet, steps=steps)
    except KeyboardInterrupt:
        if not way.is_embedded:
            say(f"\nexecution {run.id} goes on at {way.client.url}; stop it with: stemma run stop {run.id}")
            raise
        say(f"\nstopping execution {run.id} …")
        try:
            way.client.runs.stop(run.id)
            way.client.runs.wait(run.id)
        except RunEnded:
            say("it had ended already")
        raise


def _gathered(client: "Client", ended: "Run", wish: Wish, name: str) -> Outcome:
    from stemma.cli.watching import report_failure  # noqa: PLC0415 - loaded when the run has ended

    outputs = None
    if ended.state is RunState.FINISHED:
        outputs = fetch_outputs(client, ended, wish.outdir, quiet=wish.quiet)
    picture = _draw(client, ended, wish, name) if wish.picture else None
    if outputs is None:
        report_failure(ended)
    elif not wish.quiet:
        count = sum(1 for _ in _files(outputs))
        say(f"{count} file{'s' * (count != 1)} ({sized(_size_of(outputs))}) in {wish.outdir.absolute()}")
    if picture is not None and not wish.quiet:
        say(f"where they came from: {picture}")
    return Outcome(ended, outputs, picture)


def _files(value: Any) -> Any:
    if isinstance(value, list):
        for element in value:
            yield from _files(element)
    elif isinstance(value, dict):
        if value.get("class") == "File":
            yield value
        for element in value.values():
            yield from _files(element)


def _draw(client: "Client", ended: "Run", wish: Wish, name: str) -> Path | None:
    """The picture of the run in the outputs' folder; the run counts even where it cannot be drawn."""
    from stemma.cli.files import written  # noqa: PLC0415 - loaded when the run has ended

    plain = _UNSUITED_TO_NAMES.sub("-", name)[:100].strip("-.") or "run"
    target = wish.outdir.absolute() / f"{plain}-{ended.number or ended.id}-provenance.png"
    try:
        return written(target, lambda file: client.provenance.draw(ended.id, file))
    except StemmaError as error:
        say(f"the run is on record, but there is no picture of it: {error}", style="yellow")
        return None
