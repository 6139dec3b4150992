"""All commands as one tree. Each subject's module loads what it works with when it is called, not here."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from stemma import __version__
from stemma.cli import (
    audit,
    database,
    demo,
    doctor,
    engine,
    login,
    provenance,
    realm,
    remote,
    run,
    serve,
    store,
    workflow,
)

_HELP = "Register CWL workflows, run them, and know where every result came from."


def _version(wanted: bool) -> None:
    if wanted:
        print(f"stemma {__version__}")
        raise typer.Exit


def application() -> typer.Typer:
    """The tree as Typer has it."""
    app = typer.Typer(
        name="stemma", help=_HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown"
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
        ] = False,
    ) -> None:
        """Take what stands before the name of a command."""

    app.command("demo")(demo.demo)
    app.add_typer(run.app, name="run")
    app.add_typer(workflow.app, name="workflow")
    app.add_typer(provenance.app, name="prov")
    app.add_typer(engine.app, name="engine")
    app.add_typer(remote.app, name="remote")
    app.command("serve")(serve.serve)
    app.command("worker")(serve.worker)
    app.add_typer(database.app, name="db")
    app.add_typer(store.app, name="store")
    app.command("audit")(audit.audit)
    app.add_typer(realm.app, name="realm")
    app.command("login")(login.login)
    app.command("logout")(login.logout)
    app.command("whoami")(login.whoami)
    app.command("doctor")(doctor.doctor)
    return app


def command() -> TyperGroup:
    """The tree, ready to be called."""
    built = typer.main.get_command(application())
    assert isinstance(built, TyperGroup)  # noqa: S101 - several commands always make a group
    return built
