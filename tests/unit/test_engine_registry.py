"""The registry of engines."""

import pytest

from stemma.engines.registry import EngineRegistry
from stemma.errors import UnknownEngine
from support.scripted_engine import ScriptedEngine


def test_get_when_no_name_is_given_then_the_default_made_once() -> None:
    registry = EngineRegistry({"b": ScriptedEngine, "a": ScriptedEngine}, default="b")
    assert registry.names == ("a", "b")
    assert registry.get() is registry.get("b")
    assert registry.get("a") is not registry.get("b")


def test_get_when_the_name_is_unknown_then_it_says_which_there_are() -> None:
    registry = EngineRegistry({"b": ScriptedEngine, "a": ScriptedEngine}, default="a")
    with pytest.raises(UnknownEngine, match="set up here: a, b"):
        registry.get("c")
    with pytest.raises(UnknownEngine):
        EngineRegistry({"a": ScriptedEngine}, default="c")
