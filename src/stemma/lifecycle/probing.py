"""Do the engines elsewhere answer? Asked in the background and seldom, however often somebody wants to know."""

import logging
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from stemma.engines.protocol import Engine
from stemma.engines.registry import EngineBroken, EngineRegistry
from stemma.errors import StemmaError

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 30.0
"""How long after the last question there is another one."""
FIRST_SECONDS: Final = 1.0
"""How long who asks first waits for the first answer."""
STALE_SECONDS: Final = 120.0
"""How long an answer holds while the next one does not come."""


@dataclass(frozen=True, slots=True)
class Probed:
    """Whether an engine answers."""

    name: str
    version: str | None
    """Of what runs the jobs there; None when it does not answer."""
    reason: str | None = None
    """Why not, for operators."""


def probe(name: str, engine: Engine | EngineBroken) -> Probed:
    """Ask ``engine`` now."""
    if isinstance(engine, EngineBroken):
        return Probed(name, None, engine.reason)
    try:
        return Probed(name, engine.probe())
    except StemmaError as error:
        return Probed(name, None, str(error))
    except Exception as error:
        logger.exception("engine %r could not be asked", name)
        return Probed(name, None, f"it could not be asked ({type(error).__name__})")


@dataclass(slots=True)
class _Watched:
    asked_at: float = -math.inf
    is_asking: bool = False
    answered_at: float = -math.inf
    last: Probed | None = None
    has_answer: threading.Event = field(default_factory=threading.Event)


class EngineProbes:
    """What the engines elsewhere last answered. One question at a time to each. Safe to use from several threads."""

    def __init__(self, engines: EngineRegistry) -> None:
        self._engines = engines
        self._watched: dict[str, _Watched] = {}
        self._guard = threading.Lock()

    def seen(self) -> list[Probed]:
        """Each engine elsewhere, and each that is broken, by name. Waits for a moment the first time, then never."""
        elsewhere = {
            name: engine
            for name, engine in self._engines.every().items()
            if isinstance(engine, EngineBroken) or engine.is_remote
        }
        until = time.monotonic() + FIRST_SECONDS
        return [self._seen(name, self._asked(name, engine), until) for name, engine in elsewhere.items()]

    def _asked(self, name: str, engine: Engine | EngineBroken) -> _Watched:
        """What is known of ``engine``, with a question on its way where the last was long ago."""
        now = time.monotonic()
        with self._guard:
            watched = self._watched.setdefault(name, _Watched())
            is_due = not watched.is_asking and now - watched.asked_at >= PROBE_SECONDS
            if is_due:
                watched.is_asking, watched.asked_at = True, now
        if is_due:
            threading.Thread(target=self._ask, args=(name, engine, watched), name=f"probe-{name}", daemon=True).start()
        return watched

    def _ask(self, name: str, engine: Engine | EngineBroken, watched: _Watched) -> None:
        found = probe(name, engine)
        with self._guard:
            before = watched.last
            watched.last, watched.answered_at, watched.is_asking = found, time.monotonic(), False
        watched.has_answer.set()
        if found.version is None and (before is None or before.version is not None):
            logger.warning("engine %r does not answer: %s", name, found.reason)
        elif found.version is not None and before is not None and before.version is None:
            logger.info("engine %r answers again", name)

    def _seen(self, name: str, watched: _Watched, until: float) -> Probed:
        watched.has_answer.wait(max(0.0, until - time.monotonic()))
        with self._guard:
            is_stale = watched.is_asking and time.monotonic() - watched.answered_at > STALE_SECONDS
            found = watched.last
        return Probed(name, None, "it has not answered yet") if found is None or is_stale else found
