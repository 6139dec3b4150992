"""Registry entries as people name and read them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stemma.cli.console import console, print_table, short_time, visible
from stemma.cwl.types import shown
from stemma.errors import InvalidRequest

if TYPE_CHECKING:
    from stemma.client import Client, Revision, Workflow


def find_workflow(client: "Client", named: str) -> "Workflow":
    """The entry that ``named`` means: its number, or ``name:version``.

    Raises:
        WorkflowNotFound: there is none.
        InvalidRequest: it is neither.
    """
    if named.isascii() and named.isdigit():
        return client.workflows.get(int(named))
    name, mark, version = named.rpartition(":")
    if not mark or not name or not version:
        raise InvalidRequest(f"{named!r} is neither the number of a workflow nor NAME:VERSION")
    return client.workflows.find(name, version)


def show_workflow(workflow: "Workflow", structure: Mapping[str, Any], revisions: Sequence["Revision"]) -> None:
    """Print an entry for people."""
    out = console()
    out.print(f"workflow {workflow.id}", style="bold", end="  ", markup=False)
    out.print(
        visible(f"{workflow.name}:{workflow.version}, revision {workflow.revision}, {workflow.group}"), markup=False
    )
    for text in (structure.get("label"), structure.get("doc")):
        if text:
            out.print(visible(str(text).rstrip()), markup=False)
    _ports("inputs", structure.get("inputs"))
    _ports("outputs", structure.get("outputs"))
    out.print("\nhistory", style="bold")
    rows = [(one.number, short_time(one.created_at), one.digest[:12]) for one in revisions]
    print_table(("revision", "registered", "digest"), rows, right=("revision",))


def _ports(title: str, ports: Any) -> None:
    if not isinstance(ports, list) or not ports:
        return
    console().print(f"\n{title}", style="bold")
    print_table(("name", "type", ""), [(port["id"], shown(port["type"]), _about(port)) for port in ports])


def _about(port: Mapping[str, Any]) -> str:
    told = port.get("label") or port.get("doc") or ""
    default = "" if port.get("default") is None else f" (default {port['default']})"
    return f"{str(told).strip()}{default}"
