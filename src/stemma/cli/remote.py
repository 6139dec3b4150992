"""``stemma remote``: places elsewhere where data lies, and the files there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stemma.cli.access import Access, asking
from stemma.cli.console import lasting, print_json, print_table, say, short_time, sized, visible
from stemma.errors import InvalidRequest, StemmaError

if TYPE_CHECKING:
    from stemma.client import Remote

app = typer.Typer(help="Register places where data lies, and look after the files there.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="REMOTE", help="Its name; stemma remote list shows them.")]
PlaceArgument = Annotated[str, typer.Argument(metavar="REMOTE:PATH", help="The remote's name, and the file there.")]
GroupOption = Annotated[
    str | None,
    typer.Option(metavar="GROUP", help="The remote of this group; its admins change it, its members use it."),
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="FIELD", help="A field of the credentials, whose value is asked for; repeatable."),
]
StdinOption = Annotated[
    bool,
    typer.Option("--secret-stdin", help="Read the credentials from standard input: JSON, or lines of FIELD=VALUE."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_ASKED: Final = 1000


class DoesNotWork(StemmaError):
    """A remote was tried, and does not work."""

    code, exit_code = "remote-does-not-work", 69


@app.command("add")
@asking
def add(
    way: Access,
    *,
    name: Annotated[str, typer.Argument(metavar="REMOTE", help="What to call it.")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="s3, gs, az, https, rclone or file.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Where it is: bucket, region, url …; repeatable."),
    ] = None,
    secret: SecretOption = None,
    secret_stdin: StdinOption = False,
    group: GroupOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a place where data lies. Its settings can be seen; its credentials are sealed, and never shown.

    Credentials are asked for, or read from standard input; on the command line others on this machine would see them.
    """
    from stemma.cli.remote_secrets import given_secrets, given_settings  # noqa: PLC0415 - commands load what they need

    settings = given_settings(setting or [])
    credentials = given_secrets(way.client.url, secret or [], from_stdin=secret_stdin)
    made = way.client.remotes.add(name, kind, settings, credentials, group=group)
    if as_json:
        print_json(made.raw)
        return
    say(visible(f"{name} is registered; try it: stemma remote test {name}"))


@app.command("list")
@asking
def list_(way: Access, as_json: JsonOption = False) -> None:
    """List your remotes and those of your groups."""
    found = way.client.remotes.list()
    if as_json:
        print_json([one.raw for one in found])
        return
    rows = [(one.name, one.kind, one.group or "you", _where(one), _credentials(one)) for one in found]
    print_table(("remote", "kind", "of", "settings", "credentials"), rows)


@app.command("show")
@asking
def show(way: Access, name: NameArgument, group: GroupOption = None, as_json: JsonOption = False) -> None:
    """Show one remote."""
    found = way.client.remotes.get(name, group=group)
    if as_json:
        print_json(found.raw)
        return
    rows = [
        ("remote", found.name),
        ("kind", found.kind),
        ("of", found.group or "you"),
        *sorted(found.settings.items()),
        ("credentials", _credentials(found)),
        ("registered", f"{short_time(found.created_at)} by {found.created_by}"),
        ("changed", short_time(found.updated_at)),
    ]
    print_table(("", ""), rows)


@app.command("test")
@asking
def try_(
    way: Access,
    *,
    name: NameArgument,
    path: Annotated[str | None, typer.Argument(help="A file to read from; the first that it lists without.")] = None,
    group: GroupOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try whether a remote answers, and lets a file be read."""
    tried = way.client.remotes.test(name, path=path, group=group)
    if as_json:
        print_json(tried.raw)
    if not tried.works:
        raise DoesNotWork(f"{name} does not work: {tried.problem}")
    if not as_json:
        what = f"{tried.found.path} can be read" if tried.found else "there is nothing on it yet"
        say(visible(f"{name} works: {what} ({lasting(tried.seconds)})"))


@app.command("login")
@asking
def login(
    way: Access,
    name: NameArgument,
    secret: SecretOption = None,
    secret_stdin: StdinOption = False,
    group: GroupOption = None,
) -> None:
    """Give a remote new credentials, in place of those it had."""
    from stemma.cli.remote_secrets import given_secrets  # noqa: PLC0415 - commands load what they need

    credentials = given_secrets(way.client.url, secret or [], from_stdin=secret_stdin)
    if not credentials:
        raise InvalidRequest("say which credentials to give, with --secret FIELD or --secret-stdin")
    way.client.remotes.change(name, credentials=credentials, group=group)
    say(visible(f"{name} is asked with these credentials from now on"))


@app.command("delete")
@asking
def delete(way: Access, name: NameArgument, group: GroupOption = None) -> None:
    """Let the service forget a remote and its credentials. What lies there stays."""
    way.client.remotes.delete(name, group=group)
    say(visible(f"{name} is forgotten"))


@app.command("ls")
@asking
def ls(
    way: Access,
    place: Annotated[str, typer.Argument(metavar="REMOTE[:PATH]", help="The remote's name, and a folder there.")],
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most.", min=1, max=_ASKED)] = _ASKED,
    group: GroupOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the files in a folder on a remote, and in all folders below it."""
    name, _, path = place.partition(":")
    found = way.client.remotes.files(name, path, limit=limit, group=group)
    if as_json:
        print_json([one.raw for one in found.files])
    else:
        rows = [("" if one.size_bytes is None else sized(one.size_bytes), one.path) for one in found.files]
        print_table(("size", "path"), rows, right=("size",))
    if found.is_cut:
        say(f"there are more; these are the first {len(found.files)}", style="yellow")


@app.command("get")
@asking
def get(
    way: Access,
    place: PlaceArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is standard output.")
    ] = None,
    group: GroupOption = None,
) -> None:
    """Fetch a file from a remote."""
    from stemma.cli.files import written  # noqa: PLC0415 - commands load what they need
    from stemma.cli.transfers import moving  # noqa: PLC0415 - see above

    name, path = _place(place)
    target = output or Path(path.rpartition("/")[2])
    with moving(f"fetching {path}") as progress:
        written(target, lambda file: way.client.remotes.fetch(name, path, file, progress, group=group))
    say(visible(f"{target} written"))


@app.command("put")
@asking
def put(
    way: Access,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to send.")],
    place: PlaceArgument,
    group: GroupOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a file on a remote, in place of what lies there. With a / at the end of the path, under its own name."""
    from stemma.cli.transfers import moving  # noqa: PLC0415 - commands load what they need
    from stemma.client import Attachment  # noqa: PLC0415 - see above

    name, _, path = place.partition(":")
    path = f"{path}{file.name}" if not path or path.endswith("/") else path
    if not file.is_file():
        raise InvalidRequest(f"there is no file {file}")
    with moving(f"sending {file.name}") as progress:
        done = way.client.remotes.put(name, path, Attachment.of_path(file), progress, group=group)
    if as_json:
        print_json(done.raw)
        return
    say(visible(f"{sized(done.size_bytes)} are at {name}:{path}, sha256 {done.sha256}"))


@app.command("copy")
@asking
def copy(
    way: Access,
    *,
    source: PlaceArgument,
    target: PlaceArgument,
    from_group: Annotated[str | None, typer.Option(metavar="GROUP", help="Whose remote the first is.")] = None,
    to_group: Annotated[str | None, typer.Option(metavar="GROUP", help="Whose remote the second is.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a file from one remote to another. The bytes go through the service, not through this machine."""
    from stemma.cli.transfers import moving  # noqa: PLC0415 - commands load what they need

    first, second = _place(source), _place(target)
    with moving(f"copying {first[1]}") as progress:
        done = way.client.remotes.copy(first, second, progress, source_group=from_group, target_group=to_group)
    if as_json:
        print_json(done.raw)
        return
    say(visible(f"{sized(done.size_bytes)} are at {target}, sha256 {done.sha256} ({lasting(done.seconds)})"))


@app.command("reseal")
def reseal() -> None:
    """Seal all credentials, of remotes and for engines, with the service's key of today. For operators.

    After STEMMA_SECRET_KEY was changed, with the key before in STEMMA_SECRET_KEYS_BEFORE; that one can go afterwards.
    """
    from stemma.cli.database import opened_database  # noqa: PLC0415 - commands load what they need
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above
    from stemma.database import schema  # noqa: PLC0415 - see above
    from stemma.lifecycle.resealing import reseal as seal_anew  # noqa: PLC0415 - see above

    with opened_database() as database:
        schema.check(database)
        found = seal_anew(settings(), database)
    say(f"{found.done} sealed anew, {found.fine} were already sealed with the key of today")
    for lost in found.lost:
        say(visible(f"cannot be opened with any key that is set: {lost}"), style="yellow")
    if found.lost:
        raise typer.Exit(1)


def _place(written: str) -> tuple[str, str]:
    name, mark, path = written.partition(":")
    if not mark or not name or not path:
        raise InvalidRequest(f"{written!r} is no REMOTE:PATH")
    return name, path


def _where(remote: "Remote") -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(remote.settings.items()))


def _credentials(remote: "Remote") -> str:
    return "sealed" if remote.has_credentials else "none"
