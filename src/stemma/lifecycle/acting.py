"""Which engine acts for whom."""

from stemma.engines.protocol import Engine, Owner
from stemma.engines.registry import EngineRegistry


def engine_for(engines: EngineRegistry, name: str, owner: Owner) -> Engine:
    """The engine of that name, with the rights of ``owner`` where its users have credentials of their own.

    Raises:
        UnknownEngine: there is none of that name.
    """
    engine = engines.get(name)
    acting_for = getattr(engine, "acting_for", None)
    acting: Engine = acting_for(owner) if acting_for is not None else engine
    return acting
