"""Asks for replays."""

from dataclasses import dataclass
from typing import Final

from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.replay.results import RESULTS_FILE, Results, write_results
from stemma.errors import EngineUnreachable
from stemma.forkserver import ForkServer, ForkServerGone

TARGET: Final = "stemma.engines.replay.process:serve"
_PATIENCE_SECONDS: Final = 600.0
"""For ten thousand jobs; most take less than a second."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to."""

    is_ended: bool
    """Whether the journal has its end."""
    wanted: tuple[str, ...]
    """The places of files whose bytes it needs first: nothing was written."""


class Replayer:
    """Replays attempts, each in a process of its own."""

    def __init__(self, engine: str, fork_server: ForkServer | None = None) -> None:
        self._engine = engine
        self._fork_server = fork_server or ForkServer(TARGET)

    def start(self) -> None:
        """Load what replays need; returns before it is done."""
        self._fork_server.start()

    def close(self) -> None:
        """End the parent of the replays."""
        self._fork_server.close()

    def replay(self, folder: AttemptFolder, results: Results) -> Replayed:
        """Bring the journal of an attempt up to ``results``.

        Raises:
            EngineUnreachable: it could not be done now: another worker is at it, say.
        """
        write_results(folder.path / RESULTS_FILE, results)
        try:
            with self._fork_server.request({"folder": str(folder.path)}) as channel:
                answer = channel.receive(timeout_seconds=_PATIENCE_SECONDS)
        except (ForkServerGone, TimeoutError) as error:
            raise EngineUnreachable(self._engine, f"the record of the run could not be written: {error}") from error
        if answer.get("busy"):
            raise EngineUnreachable(self._engine, "another process writes the record of the run")
        return Replayed(answer["ended"], tuple(answer["wanted"]))
