"""The engines that are set up here, by name."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stemma.engines.protocol import Engine
from stemma.errors import EngineUnreachable, UnknownEngine

logger = logging.getLogger(__name__)

Maker = Callable[[], Engine | None]
"""Makes an engine, or says by None that it is not set up here."""


class EngineBroken(EngineUnreachable):
    """The engine is installed and does not work here, whatever the run. Runs on it wait until that is put right."""

    code = "engine-broken"


class UnknownDefault(UnknownEngine):
    """The engine for runs that name none is not set up here."""

    code, exit_code = "unknown-default-engine", 78

    def __init__(self, engine: str, known: Sequence[str]) -> None:
        super().__init__(engine, known)
        self.args = (
            f"runs that name no engine would go to {engine!r}, which is not set up here: set it up, or name another in "
            f"STEMMA_DEFAULT_ENGINE (there is {', '.join(known)})"
            if known
            else "no engine is installed; install Stemma anew (from its source: make setup)",
        )


@dataclass(frozen=True, slots=True)
class _Broken:
    reason: str


class EngineRegistry:
    """Makes each engine when it is first asked for: some cost much to load. Safe to use from several threads."""

    def __init__(self, makers: Mapping[str, Maker], *, default: str) -> None:
        self._makers = dict(makers)
        self._made: dict[str, Engine | _Broken] = {}
        self._making = threading.RLock()
        self.default = default
        """The name of the engine that runs what names none."""
        if default not in self._makers:
            raise UnknownDefault(default, self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The engines, in the order of their names, without those that were found to be broken."""
        return tuple(name for name in sorted(self._makers) if not isinstance(self._made.get(name), _Broken))

    def get(self, name: str | None = None) -> Engine:
        """The engine of that name, or the default one.

        Raises:
            UnknownEngine: there is none of that name.
            EngineBroken: it cannot be loaded.
        """
        name = name or self.default
        made = self._made[name] if name in self._made else self._make(name)
        if isinstance(made, _Broken):
            raise EngineBroken(name, made.reason)
        return made

    def every(self) -> dict[str, Engine | EngineBroken]:
        """Each engine that is set up here, by name; what is wrong with it where it cannot be loaded."""
        found: dict[str, Engine | EngineBroken] = {}
        for name in sorted(self._makers):
            try:
                found[name] = self.get(name)
            except EngineBroken as error:
                found[name] = error
            except UnknownEngine:  # it is installed, and says itself that it is not set up here
                continue
        return found

    def working(self) -> dict[str, Engine]:
        """Each engine that is set up here and can be loaded, by name."""
        return {name: engine for name, engine in self.every().items() if not isinstance(engine, EngineBroken)}

    def start(self) -> None:
        """Let engines load what they will need, so that the first run need not wait for it.

        An engine that cannot start is broken from then on; without the default one there is no service.
        """
        for name, engine in self.working().items():
            try:
                _call(engine, "start")
            except Exception as error:
                if name == self.default:
                    raise
                self._made[name] = self._broken(name, "it could not be started", error)

    def close(self) -> None:
        """Let go of helper processes. Jobs go on."""
        for name, engine in self._made.items():
            if isinstance(engine, _Broken):
                continue
            try:
                _call(engine, "close")
            except Exception:  # the others are to be closed as well
                logger.exception("engine %r could not be closed", name)

    def _make(self, name: str) -> Engine | _Broken:
        with self._making:
            if name in self._made:  # another thread was quicker
                return self._made[name]
            if name not in self._makers:
                raise UnknownEngine(name, self.names)
            try:
                made: Engine | _Broken | None = self._makers[name]()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with code of others, the service goes on
                made = self._broken(name, "it could not be loaded", error)
            if made is None:
                self._makers = {other: maker for other, maker in self._makers.items() if other != name}
                raise UnknownEngine(name, self.names)
            if not isinstance(made, _Broken) and made.name != name:
                logger.error("engine %r calls itself %r", name, made.name)
                made = _Broken("it calls itself by another name")
            self._made[name] = made
            return made

    @staticmethod
    def _broken(name: str, what: str, error: Exception) -> _Broken:
        """Only the kind of error is told: what it says may be for operators alone."""
        logger.error("engine %r is left out: %s", name, what, exc_info=error)
        return _Broken(f"{what} ({type(error).__name__}); the service's log says more")


def _call(engine: Engine, name: str) -> None:
    """Call what an engine may have beside the protocol: most need neither start nor close."""
    function = getattr(engine, name, None)
    if function is not None:
        function()
