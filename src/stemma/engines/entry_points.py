"""Engines are found by entry points, so that others can add theirs: ``docs/engines.md`` shows how.

Each entry of the group ``stemma.engines`` names a function that is given an :class:`EngineContext` and returns an
engine, or None when that engine is not set up here. Nothing is imported before an engine is first asked for.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from stemma.cwl.helper import Validator
from stemma.engines.protocol import Engine, Owner
from stemma.settings import Settings

logger = logging.getLogger(__name__)

GROUP: Final = "stemma.engines"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_OWN: Final = "stemma.engines."
_NEEDS: Final[dict[str, Callable[[Settings], object]]] = {
    "reana": lambda settings: settings.reana_server_url,
    "wes": lambda settings: settings.wes_url,
}
"""The settings without which an engine of ours is not there: known without loading it."""


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What an engine may use of this installation."""

    name: str
    """What the engine is called here; ``Engine.name`` must be the same."""
    settings: Settings
    runs_folder: Path
    """Where an engine keeps what it needs of its runs on this machine, each in a folder of its own."""
    store_path: Callable[[str], Path]
    """Where the content of a digest (SHA-256) lies, such as the files of a document. It is read, never changed."""
    validator: Validator
    """Reads CWL documents, in processes of their own."""
    credential: Callable[[Owner | None], SecretStr | None]
    """What to show the engine's server for a run: the person's own credential, else the group's, else the one for all;
    None where there is none. Asked anew for each call: it can change at any time."""


MakeContext = Callable[[str], EngineContext]
"""Gives the context of the engine of that name."""


def installed(settings: Settings, context: MakeContext) -> dict[str, Callable[[], Engine | None]]:
    """What makes each engine that is installed and not known to be unconfigured, by name."""
    return {
        name: _maker(entry, context)
        for name, entry in found().items()
        if name not in _NEEDS or _NEEDS[name](settings) is not None
    }


def found() -> dict[str, EntryPoint]:
    """The entry points of engines, by name. None takes the place of one of ours."""
    chosen: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (not entry.value.startswith(_OWN), entry.value)):
        if not _NAME.fullmatch(entry.name):
            logger.error("engine %a of %s is left out: its name will not do", entry.name, entry.value)
        elif entry.name not in chosen:
            chosen[entry.name] = entry
        elif entry.value != chosen[entry.name].value:
            logger.error(
                "engine %r of %s is left out: %s has that name", entry.name, entry.value, chosen[entry.name].value
            )
    return chosen


def _maker(entry: EntryPoint, context: MakeContext) -> Callable[[], Engine | None]:
    def make() -> Engine | None:
        made: Engine | None = entry.load()(context(entry.name))
        return made

    return make
