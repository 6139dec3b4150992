"""``stemma workflow``: the registry."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemma.cli.access import Access, asking
from stemma.cli.console import print_json, print_table, say, short_time
from stemma.errors import Finding, InvalidRequest

if TYPE_CHECKING:
    from stemma.cli.spec import Spec
    from stemma.client import Attachment

app = typer.Typer(help="Register, look at, and change workflows.", no_args_is_help=True)

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="A CWL document (FILE#id for one process of it), or a zip of one.")
]
EntryArgument = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its number, or NAME:VERSION.")]
InputsOption = Annotated[
    Path | None, typer.Option("--inputs", metavar="FILE", help="Inputs to keep with it, as YAML or JSON.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("register")
@asking
def register(
    way: Access,
    *,
    file: FileArgument,
    name: Annotated[str | None, typer.Option(help="Its name; the file's without one.")] = None,
    version: Annotated[str, typer.Option("--version-label", "--version", help="Its version.")] = "1",
    inputs: InputsOption = None,
    group: Annotated[str | None, typer.Option(help="The group that it belongs to, where you are in several.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Register a workflow, with everything that its document refers to."""
    spec, template = _read(file), _template(inputs)
    done = way.client.workflows.register(
        name=name or spec.stem, version=version, spec=spec.attachment, main=spec.main, inputs=template, group=group
    )
    if as_json:
        print_json(done.raw)
        return
    _warn(done.warnings)
    say(f"workflow {done.id} registered: {name or spec.stem}:{version}")


@app.command("validate")
@asking
def validate(
    way: Access,
    *,
    file: FileArgument,
    inputs: InputsOption = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also whether this engine can run it; without it nobody is asked."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a document without registering it. Findings say file, line and column."""
    spec = _read(file)
    told = way.client.workflows.validate(spec=spec.attachment, main=spec.main, inputs=_template(inputs), engine=engine)
    if as_json:
        print_json(told)
        return
    for warning in (told or {}).get("warnings") or ():
        place = ":".join(str(warning[part]) for part in ("file", "line", "column") if warning.get(part) is not None)
        say(f"warning: {place}: {warning['message']}" if place else f"warning: {warning['message']}", style="yellow")
    say(f"{file} is valid, and engine {engine} can run it" if engine else f"{file} is valid")


@app.command("list")
@asking
def list_(
    way: Access,
    name: Annotated[str | None, typer.Option(help="Only those with this name.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """List workflows, the newest first."""
    found = list(way.client.workflows.list(name=name, limit=limit))
    if as_json:
        print_json([one.raw for one in found])
        return
    rows = [
        (one.id, one.name, one.version, one.revision, one.group, short_time(one.created_at), one.created_by)
        for one in found
    ]
    if not rows:
        say("no workflows; register one with: stemma workflow register FILE.cwl")
        return
    titles = ("id", "name", "version", "revision", "group", "registered", "by")
    print_table(titles, rows, right=("id", "revision"))


@app.command("show")
@asking
def show(way: Access, entry: EntryArgument, as_json: JsonOption = False) -> None:
    """Show a workflow: what it asks for, what it gives, its history."""
    from stemma.cli.entry import find_workflow, show_workflow  # noqa: PLC0415 - commands load what they need

    workflow = find_workflow(way.client, entry)
    revisions = way.client.workflows.revisions(workflow.id)
    structure = way.client.workflows.structure(workflow.id)["structure"]
    if as_json:
        print_json({**workflow.raw, "structure": structure, "revisions": [one.raw for one in revisions]})
        return
    show_workflow(workflow, structure, revisions)


@app.command("update")
@asking
def update(
    way: Access,
    *,
    entry: EntryArgument,
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="The new document.")] = None,
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    version: Annotated[str | None, typer.Option("--version-label", "--version", help="Its new version.")] = None,
    inputs: InputsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a workflow. New content becomes a new revision; what has run stays as it was."""
    from stemma.cli.entry import find_workflow  # noqa: PLC0415 - commands load what they need

    spec = _read(file) if file else None
    if spec is None and inputs is None and name is None and version is None:
        raise InvalidRequest("say what is to change: a FILE, --inputs, --name or --version-label")
    done = way.client.workflows.update(
        find_workflow(way.client, entry).id,
        name=name,
        version=version,
        spec=spec.attachment if spec else None,
        main=spec.main if spec else None,
        inputs=_template(inputs),
    )
    if as_json:
        print_json(done.raw)
        return
    _warn(done.warnings)
    say(f"workflow {done.id}: " + (f"now at revision {done.revision}" if done.changed else "no new content"))


@app.command("delete")
@asking
def delete(way: Access, entry: EntryArgument, as_json: JsonOption = False) -> None:
    """Delete a workflow. Its runs and their provenance stay."""
    from stemma.cli.entry import find_workflow  # noqa: PLC0415 - commands load what they need

    workflow = find_workflow(way.client, entry)
    way.client.workflows.delete(workflow.id)
    if as_json:
        print_json({"registry_id": workflow.id, "deleted": True})
        return
    say(f"workflow {workflow.id} deleted: {workflow.name}:{workflow.version}")


def _read(file: str) -> "Spec":
    from stemma.cli.spec import read_spec  # noqa: PLC0415 - commands load what they need

    return read_spec(file)


def _template(path: Path | None) -> "Attachment | None":
    if path is None:
        return None
    from stemma.cli.spec import template  # noqa: PLC0415 - commands load what they need

    return template(path)


def _warn(warnings: Sequence[Finding]) -> None:
    for warning in warnings:
        say(f"warning: {warning}", style="yellow")
