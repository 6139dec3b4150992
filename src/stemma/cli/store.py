"""``stemma store``: what lies in the store of this installation, whether it is whole, and what may go."""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from stemma.cli.console import error_console, print_json, print_table, say, short_time, sized, visible
from stemma.errors import InvalidRequest

if TYPE_CHECKING:
    from stemma.database.queries.archive import Archived
    from stemma.database.queries.storekeeping import Owner
    from stemma.lifecycle.archive.rereading import ArchiveFault, Reread
    from stemma.lifecycle.installation import Installation
    from stemma.lifecycle.storekeeping.inventory import Inventory
    from stemma.lifecycle.storekeeping.verification import Fault

F = TypeVar("F", "Fault", "ArchiveFault")

app = typer.Typer(
    help="Look after the store: what lies there, whether it is whole, what may go. These commands work on this "
    "installation itself, beside whatever is running.",
    no_args_is_help=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SIZES: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SHOWN: Final = 100
_AS_OWNED: Final = {"documents": "record", "outputs": "output", "uploads": "input", "replicas": "input from elsewhere"}
_MEANINGS: Final = {
    "documents": "registered workflows, captured records",
    "outputs": "what steps made; until the run is deleted",
    "uploads": "inputs that were sent; until the run is deleted",
    "replicas": "copies of what lies elsewhere; dropped when space is short",
    "unused": "nothing refers to it; stemma store gc removes it",
}


@app.command("show")
def show(as_json: JsonOption = False) -> None:
    """Say what lies in the store, how much more may come, and what would be dropped first."""
    from stemma.lifecycle.storekeeping.inventory import take_inventory  # noqa: PLC0415 - commands load what they need

    with _opened() as installation, _waiting("counting"):
        found = take_inventory(installation)
    if as_json:
        print_json(_as_object(found))
        return
    rows = [
        (kind, amount.files, sized(amount.size_bytes), _MEANINGS.get(kind, "")) for kind, amount in found.kinds.items()
    ]
    held = found.held
    whole = ("all", held.files, sized(held.size_bytes), "")
    print_table(("kind", "files", "bytes", ""), [*rows, whole], right=("files", "bytes"))
    print()
    needs = found.needs
    print_table(
        ("", ""),
        [
            ("limit", sized(found.limit_bytes) if found.limit_bytes is not None else "none (STEMMA_STORE_BYTES)"),
            ("free", sized(found.free_bytes)),
            ("reserved", f"{sized(found.reserved_bytes)} for {found.moving} files being moved"),
            ("found here", f"{needs.hits} of {needs.hits + needs.misses} files that runs needed from elsewhere"),
            ("saved", f"{sized(needs.saved_bytes)}; {sized(found.moved_bytes)} were moved"),
        ],
    )
    if found.archived is not None:
        _print_archived(found.archived)
    if found.first_to_drop:
        print()
        shown = [
            (sized(one.size_bytes), short_time(one.used_at), one.group, _shown_address(one.address))
            for one in found.first_to_drop
        ]
        print_table(("dropped first", "used last", "group", "source"), shown, right=("dropped first",))


def _print_archived(archived: "Archived") -> None:
    rows = [
        ("archived", f"{archived.files} outputs and uploads, {sized(archived.size_bytes)}"),
        ("to be archived", f"{archived.waiting}, {sized(archived.waiting_bytes)}"),
    ]
    if archived.troubled:
        rows.append(("not archived", visible(f"{archived.troubled} so far: {archived.error}")))
    print_table(("", ""), rows)


@app.command("verify")
def verify(
    heal: Annotated[
        bool, typer.Option("--heal", help="Bring back what the archive has, and wait for what runs need right now.")
    ] = False,
    archive_bytes: Annotated[
        bool, typer.Option("--archive-bytes", help="Read everything in the archive again too, which may take long.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read everything in the store again and compare the digests. The exit code is 1 when something is lost, or when
    something of the archive that was to be read cannot be read.

    A damaged copy of what lies elsewhere is removed, and fetched again when a run needs it. Anything else that is
    damaged is moved to the folder `damaged` of the store: nobody is to take it for what it was. Outputs and uploads
    that lie in the archive are given from there; with `--heal` they are put back into the store. What is damaged in the
    archive and lies in the store is copied there anew.
    """
    from stemma.cli.transfers import counting  # noqa: PLC0415 - see above
    from stemma.lifecycle.archive.healing import bring_back_all  # noqa: PLC0415 - see above
    from stemma.lifecycle.replicate.replicator import Replicator  # noqa: PLC0415 - commands load what they need
    from stemma.lifecycle.storekeeping import verification  # noqa: PLC0415 - see above

    with _opened() as installation:
        if archive_bytes and installation.archive is None:
            raise InvalidRequest("there is no archive: STEMMA_ARCHIVE is not set")
        contents = list(installation.store.contents())
        with counting("reading", sum(content.size_bytes for content in contents)) as on_read:
            found = verification.verify(installation, contents, on_read=on_read)
        copies = [copy for fault in found.faults for copy in fault.copies]
        healed = left = 0
        back: set[str] = set()
        if heal and found.archive_error is None:
            with _waiting("bringing back from the archive"):
                back = bring_back_all(installation, [fault.sha256 for fault in found.faults if not fault.copies])
        if heal and copies:
            replicator = Replicator(installation, f"verify-{installation.home_id[:8]}", lambda _: None)
            with _waiting("fetching again"):
                healed, left = verification.heal(installation, copies, replicator)
        reread = _read_archive(installation) if archive_bytes else None
    archive_error = found.archive_error or (reread.error if reread is not None else None)
    if as_json:
        told = [_fault_as_object(fault, is_back=fault.sha256 in back) for fault in found.faults]
        print_json(
            {
                "files": found.files,
                "bytes": found.size_bytes,
                "faults": told,
                "healed": healed + len(back),
                "to_come": left,
                "archive_error": archive_error,
                "archive": _reread_as_object(reread) if reread is not None else None,
            }
        )
    else:
        _print_faults(found.faults, lambda fault: _done(fault, back))
        copied = f"; {healed} copies fetched again, {left} still to come" if healed or left else ""
        say(f"{found.files} files ({sized(found.size_bytes)}) read, {len(found.faults)} not as they should be{copied}")
        if back:
            say(f"{len(back)} brought back from the archive")
        if reread is not None:
            _print_reread(reread)
        _say_of_archive(archive_error)
    is_lost = any(fault.is_lost and fault.sha256 not in back for fault in found.faults)
    is_bad = reread is not None and (reread.error is not None or any(fault.is_lost for fault in reread.faults))
    raise typer.Exit(int(is_lost or is_bad))


def _read_archive(installation: "Installation") -> "Reread":
    from stemma.cli.transfers import counting  # noqa: PLC0415 - commands load what they need
    from stemma.database.queries.archive import amount  # noqa: PLC0415 - see above
    from stemma.lifecycle.archive.rereading import read_again  # noqa: PLC0415 - see above

    name = installation.archive.name if installation.archive is not None else ""
    with installation.database.reading() as session:
        total = amount(session, name).size_bytes
    with counting("reading the archive", total) as on_read:
        return read_again(installation, on_read=on_read)


def _print_reread(reread: "Reread") -> None:
    _print_faults(reread.faults, lambda fault: "in the archive" + (", copied anew" if fault.is_copied_anew else ""))
    read = f"{reread.files} files ({sized(reread.size_bytes)}) of the archive read"
    say(f"{read}, {len(reread.faults)} not as they should be")


@app.command("evict")
def evict(
    size: Annotated[
        str | None, typer.Option("--bytes", metavar="N", help="Until so much is free: 500000000, 500M, 2G.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that no run needs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Drop copies of what lies elsewhere that no run needs, the one first that was used longest ago.

    Then outputs and uploads that lie in the archive too. Runs that need any of it later fetch it again. Documents, and
    what does not lie in the archive, stay.
    """
    from stemma.lifecycle.storekeeping.removal import evict as drop  # noqa: PLC0415 - commands load what they need

    if (size is None) == (not everything):
        raise InvalidRequest("say how much: --bytes N, or --all")
    wanted = None if size is None else _bytes(size)
    with _opened() as installation, _waiting("dropping"):
        done = drop(installation, wanted_bytes=wanted)
    if as_json:
        print_json(
            {
                "copies": done.files,
                "archived": done.archived_files,
                "freed_bytes": done.freed_bytes + done.archived_bytes,
                "archive_error": done.archive_error,
            }
        )
        return
    archived = f", {done.archived_files} files that lie in the archive" if done.archived_files else ""
    say(f"{done.files} copies{archived} dropped, {sized(done.freed_bytes + done.archived_bytes)} freed")
    _say_of_archive(done.archive_error)
    if wanted is not None and done.freed_bytes + done.archived_bytes < wanted:
        say("the rest is needed by runs that go on, or is to be had nowhere else", style="yellow")


@app.command("gc")
def gc(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Nothing that came or was let go of later: 1d, 6h, 2w.")
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what nothing refers to any more: files of deleted runs, abandoned uploads, what crashes left.

    Safe while everything is running: an upload that was not submitted yet is younger than a day. What a captured record
    says stays on record; the files of its run go when that is deleted.
    """
    from stemma.lifecycle.storekeeping.removal import collect  # noqa: PLC0415 - commands load what they need

    age = _age(older_than)
    with _opened() as installation, _waiting("looking"):
        done = collect(installation, age=age, dry_run=dry_run)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "files": done.files,
                "freed_bytes": done.freed_bytes,
                "leftover_bytes": None if dry_run else done.left_bytes,
                "archived_files": done.archived_files,
                "archived_bytes": done.archived_bytes,
                "archive_error": done.archive_error,
            }
        )
        return
    would = "would be removed" if dry_run else "removed"
    left = "" if dry_run else f", and {sized(done.left_bytes)} that writers had left behind"
    say(f"{done.files} files ({sized(done.freed_bytes)}) {would}{left}")
    if done.archived_files:
        say(f"{done.archived_files} files ({sized(done.archived_bytes)}) {would} from the archive")
    _say_of_archive(done.archive_error)


def _say_of_archive(error: str | None) -> None:
    if error is not None:
        say(f"the archive does not answer as it should: {error}", style="yellow")


@contextmanager
def _opened() -> "Iterator[Installation]":
    from stemma.cli.settings import settings  # noqa: PLC0415 - commands load what they need
    from stemma.lifecycle.installation import open_installation  # noqa: PLC0415 - see above

    installation = open_installation(settings())
    try:
        yield installation
    finally:
        installation.close()


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """Something that turns while nothing is to be seen, on a terminal."""
    if not error_console().is_terminal:
        yield
        return
    with error_console().status(what):
        yield


def _done(fault: "Fault", back: "Collection[str]") -> str:
    """What became of it."""
    if fault.copies:
        return "to be fetched again"
    moved = f"moved to {fault.aside}" if fault.aside else ""
    archived = "brought back" if fault.sha256 in back else "given from the archive" if fault.is_archived else ""
    return ", ".join(filter(None, (moved, archived)))


def _print_faults(faults: "tuple[F, ...]", done: "Callable[[F], str]") -> None:
    for fault in faults[:_SHOWN]:
        print(visible(f"{fault.verdict}  {fault.sha256}  {done(fault)}".rstrip()))
        for owner in fault.owners:
            print(visible(f"    {_owner(owner)}"))
        if not fault.owners:
            print("    nothing refers to it")
    if len(faults) > _SHOWN:
        say(f"and {len(faults) - _SHOWN} more; --json has them all")


def _owner(owner: "Owner") -> str:
    if owner.thing == "replica":
        return f"copy of {_shown_address(owner.what)} for {owner.group}"
    if owner.thing == "workflow":
        return f"document of workflow {owner.what!r}, registry entry {owner.id} of {owner.group}"
    return f"{_AS_OWNED[owner.kind]} of execution {owner.id} of {owner.group}: {owner.what!r}"


def _shown_address(address: str) -> str:
    from stemma.lifecycle.sources import shown  # noqa: PLC0415 - commands load what they need

    return shown(address)


def _owner_as_object(owner: "Owner") -> dict[str, Any]:
    return {
        "kind": str(owner.kind),
        owner.thing: owner.id,
        "group": owner.group,
        "what": _shown_address(owner.what) if owner.thing == "replica" else owner.what,
    }


def _reread_as_object(reread: "Reread") -> dict[str, Any]:
    faults = [
        {
            "sha256": fault.sha256,
            "verdict": fault.verdict,
            "lost": fault.is_lost,
            "copied_anew": fault.is_copied_anew,
            "owners": [_owner_as_object(owner) for owner in fault.owners],
        }
        for fault in reread.faults
    ]
    return {"files": reread.files, "bytes": reread.size_bytes, "faults": faults}


def _fault_as_object(fault: "Fault", *, is_back: bool) -> dict[str, Any]:
    return {
        "sha256": fault.sha256,
        "verdict": fault.verdict,
        "lost": fault.is_lost and not is_back,
        "archived": fault.is_archived or is_back,
        "moved_to": str(fault.aside) if fault.aside else None,
        "owners": [_owner_as_object(owner) for owner in fault.owners],
    }


def _as_object(found: "Inventory") -> dict[str, Any]:
    from stemma import clock  # noqa: PLC0415 - commands load what they need

    return {
        "kinds": {kind: {"files": one.files, "bytes": one.size_bytes} for kind, one in found.kinds.items()},
        "files": found.held.files,
        "bytes": found.held.size_bytes,
        "limit_bytes": found.limit_bytes,
        "free_bytes": found.free_bytes,
        "reserved_bytes": found.reserved_bytes,
        "moving": found.moving,
        "hits": found.needs.hits,
        "misses": found.needs.misses,
        "saved_bytes": found.needs.saved_bytes,
        "moved_bytes": found.moved_bytes,
        "archived": asdict(found.archived) if found.archived is not None else None,
        "dropped_first": [
            {
                "sha256": one.sha256,
                "bytes": one.size_bytes,
                "used_at": clock.isoformat(one.used_at) if one.used_at else None,
                "group": one.group,
                "source": _shown_address(one.address),
            }
            for one in found.first_to_drop
        ],
    }


def _bytes(text: str) -> int:
    """The size that ``text`` names.

    Raises:
        InvalidRequest: it names none.
    """
    found = re.fullmatch(r"([0-9]{1,18})\s*([kmgt]?)b?", text.strip().lower())
    if found is None:
        raise InvalidRequest(f"--bytes {text!r} is no size: give one as 500000000, 500M or 2G")
    return int(found[1]) * _SIZES[found[2]]


def _age(text: str) -> timedelta:
    """The time that ``text`` names.

    Raises:
        InvalidRequest: it names none.
    """
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    if found is None:
        raise InvalidRequest(f"--older-than {text!r} is no age: give one as 1d, 6h, 30m or 2w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
