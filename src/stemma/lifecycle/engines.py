"""What is to be told of the engines that are set up here."""

import logging
from dataclasses import dataclass, field

from stemma.engines.protocol import Engine
from stemma.engines.registry import EngineBroken, EngineRegistry
from stemma.errors import EngineNotFound, Finding, InvalidRequest, UnknownEngine
from stemma.lifecycle.installation import Installation
from stemma.records import Json, RunSummary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineState:
    """An engine, as it is here."""

    name: str
    is_default: bool
    """Whether it runs what names no engine."""
    is_remote: bool = False
    takes_credentials: bool = False
    """Whether it does each run in the name of its owner."""
    version: str | None = None
    capabilities: dict[str, Json] = field(default_factory=dict)
    problem: str | None = None
    """Why it does not work here, if it does not."""


def states(engines: EngineRegistry) -> list[EngineState]:
    """Every engine that is set up here, by name. None is asked anything."""
    return [_state(engines, name, engine) for name, engine in engines.every().items()]


def known_engine(installation: Installation, name: str) -> Engine:
    """The engine of that name.

    Raises:
        EngineNotFound: there is none.
        EngineBroken: it does not work here.
    """
    try:
        return installation.engines.get(name)
    except UnknownEngine as error:
        raise EngineNotFound(error.engine, error.known) from error


def held_up(engines: EngineRegistry, run: RunSummary) -> str | None:
    """Why nobody attends to ``run``, though it has not ended: its engine is not here. None where it is.

    It waits: the engine may be put back, and whatever had begun there may go on meanwhile.
    """
    if run.state.is_terminal:
        return None
    try:
        engines.get(run.engine)
    except UnknownEngine:
        reason = f"its engine {run.engine!r} is not set up here (any more)"
    except EngineBroken as error:
        reason = f"its engine {run.engine!r} does not work here: {error.reason}"
    else:
        return None
    begun = ", and so does a stop; what had begun there cannot be reached, and may go on there" if run.attempt else ""
    return f"{reason}. It waits until that is put right{begun}"


def check_takes_credentials(engine: Engine) -> None:
    """Return when it makes a difference to ``engine`` who somebody is.

    Raises:
        InvalidRequest: it does not.
    """
    if not takes_credentials(engine):
        message = f"engine {engine.name!r} takes no credentials: it runs everything with the rights of the service"
        raise InvalidRequest(message, [Finding(message, "engine/no-credentials")])


def takes_credentials(engine: Engine) -> bool:
    """Whether it does each run in the name of its owner (:class:`stemma.engines.protocol.Engine`)."""
    return hasattr(engine, "acting_for")


def _state(engines: EngineRegistry, name: str, engine: Engine | EngineBroken) -> EngineState:
    is_default = name == engines.default
    if isinstance(engine, EngineBroken):
        return EngineState(name, is_default, problem=engine.reason)
    try:
        told = engine.describe()
    except Exception as error:
        logger.exception("engine %r cannot say what it is", name)
        return EngineState(name, is_default, problem=f"it cannot say what it is ({type(error).__name__})")
    return EngineState(
        name,
        is_default,
        is_remote=engine.is_remote,
        takes_credentials=takes_credentials(engine),
        version=told.version,
        capabilities=told.capabilities,
    )
