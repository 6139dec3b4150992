"""``stemma run``: one workflow in one go, and everything about runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from stemma import __version__
from stemma.cli.access import Access, asking
from stemma.cli.console import (
    error_console,
    lasting,
    print_json,
    print_table,
    say,
    short_time,
    state_text,
)
from stemma.errors import InvalidRequest

if TYPE_CHECKING:
    from stemma.client import Run

_ONE_GO = "file"
_HELP = """Run a workflow: `stemma run FILE.cwl [INPUTS.yml | --NAME VALUE …]` registers it, runs it here or at the
service, shows each step, brings the outputs, and draws where they came from (`stemma run file --help`).

The commands below are about runs on record. A file that is called like one of them needs `./` before it."""


class RunGroup(TyperGroup):
    """A group whose first word is a file unless it is one of its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the hidden command before what is no command."""
        if args and args[0] not in self.commands and args[0] not in {"--help", "--version"}:
            args = [_ONE_GO, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunGroup, help=_HELP, no_args_is_help=True, subcommand_metavar="FILE.cwl [INPUTS] | COMMAND [ARGS]..."
)

RunArgument = Annotated[int, typer.Argument(metavar="RUN", help="The number of the execution.", min=1)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"stemma {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
]


@app.callback()
def run(version: VersionOption = False) -> None:
    """Take what stands before the name of a command."""


@app.command(
    _ONE_GO,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[OPTIONS] FILE.cwl [INPUTS.yml] [--NAME VALUE ...]",
)
def file(
    *,
    context: typer.Context,
    document: Annotated[
        str, typer.Argument(metavar="FILE", help="A CWL document; FILE#id for one process of it.", show_default=False)
    ],
    outdir: Annotated[Path, typer.Option(help="Where to put the outputs.")] = Path(),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Do not draw the provenance.")] = False,
    workflow_name: Annotated[str | None, typer.Option(help="Register it under this name, not the file's.")] = None,
    version_label: Annotated[str, typer.Option(help="Register it under this version.")] = "dev",
    group: Annotated[str | None, typer.Option(help="The group to run it for, where you are in several.")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine to run it on.")] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The service to ask.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Who asks.", show_default=False)] = None,
    version: VersionOption = False,  # noqa: ARG001 - its callback has ended the command where it was given
) -> None:
    """Register, run, watch, fetch and draw in one go.

    Inputs are given as a file, or one by one as --NAME VALUE; the latter win. Standard output has the output object,
    as cwltool prints it. The exit code is 0 when all went well, 1 when the run failed, 33 for what is not supported.
    """
    from stemma.cli.one_go import Wish, run_in_one_go  # noqa: PLC0415 - commands load what they need

    wish = Wish(
        document=document,
        arguments=tuple(context.args),
        outdir=outdir,
        quiet=quiet,
        picture=not no_picture,
        name=workflow_name,
        version=version_label,
        group=group,
        engine=engine,
    )
    raise typer.Exit(run_in_one_go(wish, url, user))


@app.command(
    "submit",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[OPTIONS] [INPUTS.yml] [--NAME VALUE ...]",
)
@asking
def submit(
    way: Access,
    *,
    context: typer.Context,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its number, or NAME:VERSION.")],
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show each step until the run has ended.")] = False,
    revision: Annotated[int | None, typer.Option(help="The revision to run; the newest without.")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine to run it on.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Queue a run of a registered workflow. Without inputs, those registered with it are taken."""
    from stemma.cli.entry import find_workflow  # noqa: PLC0415 - commands load what they need
    from stemma.cli.one_go import job_of, split_arguments, submit_job  # noqa: PLC0415 - see above

    entry = find_workflow(way.client, workflow)
    job_file, parameters = split_arguments(context.args)
    structure = way.client.workflows.structure(entry.id, revision=revision)["structure"]
    job = None
    if job_file is not None or parameters:
        job = job_of(job_file, parameters, structure["inputs"], {})
    queued = submit_job(way.client, entry.id, job, revision=revision, engine=engine)
    if not as_json:
        say(f"execution {queued.id} queued: {queued.name}")
    if watch:
        _end_with(_watched(way, queued, as_json=as_json, steps=structure["steps"]), as_json=as_json)
        return
    if as_json:
        print_json(queued.raw)
    if way.is_embedded:
        say("no service is running: the run goes on with the next command, or with stemma serve", style="yellow")


@app.command("list")
@asking
def list_(
    way: Access,
    status: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only those of this workflow.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first."""
    from stemma.cli.entry import find_workflow  # noqa: PLC0415 - commands load what they need

    workflow_id = find_workflow(way.client, workflow).id if workflow else None
    found = list(way.client.runs.list(status=status, workflow_id=workflow_id, limit=limit))
    if as_json:
        print_json([one.raw for one in found])
        return
    if not found:
        say("no runs; make one with: stemma run FILE.cwl INPUTS.yml")
        return
    rows = [
        (one.id, one.name, one.number, state_text(one.state), short_time(one.submitted_at), _took(one), one.engine)
        for one in found
    ]
    titles = ("id", "name", "number", "state", "submitted", "took", "engine")
    print_table(titles, rows, right=("id", "number", "took"))


@app.command("show")
@asking
def show(way: Access, run_id: RunArgument, as_json: JsonOption = False) -> None:
    """Show a run with its steps, and why it failed when it did."""
    from stemma.cli.watching import report_failure  # noqa: PLC0415 - commands load what they need

    found = way.client.runs.get(run_id)
    if as_json:
        print_json(found.raw)
        return
    rows = [
        ("name", found.name + (f", number {found.number}" if found.number is not None else "")),
        ("workflow", f"{found.workflow_id}, revision {found.raw.get('revision')}"),
        ("state", state_text(found.state)),
        ("engine", found.engine),
        ("submitted", f"{short_time(found.submitted_at)} by {found.raw.get('submitted_by')}"),
        ("took", _took(found)),
    ]
    if found.raw.get("held_up"):
        rows.append(("held up", str(found.raw["held_up"])))
    print_table(("execution", str(found.id)), rows)
    print()
    steps = [(one.key, state_text(one.state), _step_took(one), one.exit_code, _memory(one.raw)) for one in found.steps]
    print_table(("step", "state", "took", "exit code", "memory"), steps, right=("took", "exit code", "memory"))
    _print_awaited(found)
    if found.state == "failed":
        print(end="", flush=True)
        say()
        report_failure(found)


@app.command("watch")
@asking
def watch(way: Access, run_id: RunArgument, as_json: JsonOption = False) -> None:
    """Show each step of a run until it has ended. The exit code is 1 when it has not finished well."""
    from stemma.cli.watching import steps_of  # noqa: PLC0415 - commands load what they need

    found = way.client.runs.get(run_id)
    _end_with(_watched(way, found, as_json=as_json, steps=steps_of(way.client, found)), as_json=as_json)


@app.command("logs")
@asking
def logs(
    way: Access,
    run_id: RunArgument,
    step: Annotated[str | None, typer.Option(help="Only this step, as `run show` names it.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what the steps of a run wrote to standard output and standard error."""
    from stemma.cli.logs import print_logs  # noqa: PLC0415 - commands load what they need

    print_logs(way.client, run_id, step, follow=follow, as_json=as_json)


@app.command("timeline")
@asking
def timeline(
    way: Access,
    run_id: RunArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it: PNG if so called, else SVG."),
    ] = None,
) -> None:
    """Draw transfers and steps of a run on one time axis: what overlapped, what waited for what."""
    from stemma.cli.files import written  # noqa: PLC0415 - commands load what they need

    target = output or Path(f"execution-{run_id}-timeline.svg")
    chosen = "png" if target.suffix.lower() == ".png" else "svg"
    written(target, lambda file: way.client.runs.timeline(run_id, file, picture_format=chosen))
    say(f"{target} written")


@app.command("stop")
@asking
def stop(way: Access, run_id: RunArgument, as_json: JsonOption = False) -> None:
    """Stop a run with everything that it started, and wait until it has stopped."""
    way.client.runs.stop(run_id)
    stopped = way.client.runs.wait(run_id)
    if as_json:
        print_json(stopped.raw)
        return
    say(f"execution {run_id} {stopped.state.value}")


@app.command("inputs")
@asking
def inputs(way: Access, run_id: RunArgument, output: OutputOption = None, as_json: JsonOption = False) -> None:
    """Download the inputs of a run as a zip archive; with --json, print the input object."""
    if as_json:
        print_json(way.client.runs.get(run_id).raw.get("inputs"))
        return
    _download(way.client.runs.inputs, run_id, output or Path(f"execution-{run_id}-inputs.zip"))


@app.command("outputs")
@asking
def outputs(
    way: Access,
    run_id: RunArgument,
    output: OutputOption = None,
    outdir: Annotated[Path | None, typer.Option(help="Put the files into this folder instead of an archive.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Download the outputs of a run as a zip archive or into a folder; with --json, print the output object."""
    if outdir is not None:
        from stemma.cli.one_go import fetch_outputs  # noqa: PLC0415 - commands load what they need

        print_json(fetch_outputs(way.client, way.client.runs.get(run_id), outdir, quiet=as_json))
    elif as_json:
        print_json(way.client.runs.get(run_id).outputs)
    else:
        _download(way.client.runs.outputs, run_id, output or Path(f"execution-{run_id}-outputs.zip"))


@app.command("delete")
@asking
def delete(
    way: Access,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="As `run list` shows it.")] = None,
    workflow: Annotated[str | None, typer.Option(help="All runs of this workflow instead.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete all runs of one name, or of a workflow; those that go on are stopped first."""
    from stemma.cli.entry import find_workflow  # noqa: PLC0415 - commands load what they need

    if (name is None) == (workflow is None):
        raise InvalidRequest("say which: a NAME, or --workflow")
    workflow_id = find_workflow(way.client, workflow).id if workflow else None
    if not yes:
        if not error_console().is_terminal:
            raise InvalidRequest("deleting wants --yes where nobody can be asked")
        typer.confirm(f"delete all runs of {name or workflow}?", abort=True, err=True)
    gone = way.client.runs.delete(workflow_id=workflow_id, name=name)
    if as_json:
        print_json(gone)
        return
    say(f"deleted: {', '.join(str(one) for one in gone['deleted']) or 'none'}")


def _watched(way: Access, found: "Run", *, as_json: bool, steps: Any) -> "Run":
    from stemma.cli.watching import watch as look  # noqa: PLC0415 - commands load what they need

    try:
        return look(way.client, found, quiet=as_json, steps=steps)
    except KeyboardInterrupt:
        say(f"execution {found.id} goes on; stop it with: stemma run stop {found.id}")
        raise


def _end_with(ended: "Run", *, as_json: bool) -> None:
    from stemma.cli.watching import report_failure  # noqa: PLC0415 - commands load what they need

    if as_json:
        print_json(ended.raw)
    if ended.state != "finished":
        if not as_json:
            report_failure(ended)
        raise typer.Exit(1)


def _print_awaited(found: "Run") -> None:
    told = found.raw.get("replication")
    if told is None:
        return
    from stemma.cli import awaiting  # noqa: PLC0415 - commands load what they need
    from stemma.client.arrivals import Replication  # noqa: PLC0415 - see above
    from stemma.client.connection import shaped  # noqa: PLC0415 - see above

    replication = shaped(Replication.of, told)
    print()
    print(f"inputs from elsewhere: {awaiting.summary(replication)}")
    rows = awaiting.rows(replication)
    if rows:
        print_table(("file", "steps waiting", "come", "speed", "left", "source"), rows, right=("steps waiting",))


def _took(found: "Run") -> str:
    if found.started_at is None or found.ended_at is None:
        return ""
    return lasting(found.ended_at - found.started_at)


def _step_took(step: Any) -> str:
    return lasting(step.ended_at - step.started_at) if step.ended_at and step.started_at else ""


def _memory(step: Any) -> str:
    used = step.get("resource_usage", {}).get("memory_peak_mb")
    return f"{used:.0f} MB" if used is not None else ""


def _download(fetch: Any, run_id: int, target: Path) -> None:
    from stemma.cli.files import written  # noqa: PLC0415 - commands load what they need

    say(f"{written(target, lambda file: fetch(run_id, file))} written")
