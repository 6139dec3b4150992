"""The engines that are set up here, by name."""

from collections.abc import Callable, Mapping

from stemma.engines.protocol import Engine
from stemma.errors import UnknownEngine


class EngineRegistry:
    """Makes each engine when it is first asked for: some cost much to load."""

    def __init__(self, makers: Mapping[str, Callable[[], Engine]], *, default: str) -> None:
        self._makers = dict(makers)
        self._made: dict[str, Engine] = {}
        self.default = default
        """The name of the engine that runs what names none."""
        if default not in self._makers:
            raise UnknownEngine(default, self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The engines, in the order of their names."""
        return tuple(sorted(self._makers))

    def get(self, name: str | None = None) -> Engine:
        """The engine of that name, or the default one.

        Raises:
            UnknownEngine: there is none of that name.
        """
        name = name or self.default
        if name not in self._makers:
            raise UnknownEngine(name, self.names)
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def start(self) -> None:
        """Let engines load what they will need, so that the first run need not wait for it."""
        for name in self.names:
            _call(self.get(name), "start")

    def close(self) -> None:
        """Let go of helper processes. Jobs go on."""
        for engine in self._made.values():
            _call(engine, "close")


def _call(engine: Engine, name: str) -> None:
    """Call what an engine may have beside the protocol: most need neither start nor close."""
    function = getattr(engine, name, None)
    if function is not None:
        function()
