"""The registry of engines, and where it finds them."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from conftest import opened_installation
from stemma.engines import entry_points
from stemma.engines.registry import EngineBroken, EngineRegistry, UnknownDefault
from stemma.errors import UnknownEngine
from stemma.lifecycle.installation import Installation
from stemma.worker.loop import Worker
from support.installed_engines import installed_engines
from support.scripted_engine import ScriptedEngine

A, B = partial(ScriptedEngine, "a"), partial(ScriptedEngine, "b")
ROOT = Path(__file__).parents[2]
FINE = """
from support.scripted_engine import ScriptedEngine
def make(context):
    engine = ScriptedEngine(context.name)
    engine.context = context
    return engine
"""
NOT_HERE = "def make(context): return None"
RAISING = "def make(context): raise ValueError('a secret of the engine')"
BROKEN_MODULE = "import no_such_module_at_all"
MISNAMED = "from support.scripted_engine import ScriptedEngine\ndef make(context): return ScriptedEngine('other')"
NOT_STARTING = """
from support.scripted_engine import ScriptedEngine
class Engine(ScriptedEngine):
    def start(self): raise OSError("no")
def make(context): return Engine(context.name)
"""


def test_get_when_no_name_is_given_then_the_default_made_once() -> None:
    registry = EngineRegistry({"b": B, "a": A}, default="b")
    assert registry.names == ("a", "b")
    assert registry.get() is registry.get("b")
    assert registry.get("a") is not registry.get("b")


def test_get_when_the_name_is_unknown_then_it_says_which_there_are() -> None:
    registry = EngineRegistry({"b": B, "a": A}, default="a")
    with pytest.raises(UnknownEngine, match="set up here: a, b"):
        registry.get("c")


def test_registry_when_the_default_is_not_there_then_it_names_the_setting() -> None:
    with pytest.raises(UnknownDefault, match=r"'c'.*STEMMA_DEFAULT_ENGINE \(there is a\)") as caught:
        EngineRegistry({"a": A}, default="c")
    assert caught.value.exit_code == 78
    with pytest.raises(UnknownDefault, match="make setup"):
        EngineRegistry({}, default="cwltool")


def test_start_when_the_default_engine_cannot_then_it_is_said_at_once() -> None:
    class Stubborn(ScriptedEngine):
        def start(self) -> None:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        EngineRegistry({"a": partial(Stubborn, "a"), "b": B}, default="a").start()


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Installation]:
    """An installation beside which engines of others are installed, of which one works."""
    modules = {
        "fine_engine": FINE, "absent_engine": NOT_HERE, "raising_engine": RAISING, "broken_engine": BROKEN_MODULE,
        "misnamed_engine": MISNAMED, "lazy_engine": NOT_STARTING,
    }  # fmt: skip
    entries = {
        "fine": "fine_engine:make", "absent": "absent_engine:make", "raising": "raising_engine:make",
        "broken": "broken_engine:make", "missing": "no_such_module:make", "misnamed": "misnamed_engine:make",
        "lazy": "lazy_engine:make", "cwltool": "fine_engine:make", "odd name": "fine_engine:make",
    }  # fmt: skip
    with (
        installed_engines(tmp_path / "packages", modules, entries),
        opened_installation("sqlite", tmp_path / "home") as installation,
    ):
        yield installation


def test_engines_of_others_when_installed_then_those_that_work_are_there(others: Installation) -> None:
    assert not {"fine_engine", "raising_engine"} & set(sys.modules)
    engine = others.engines.get("fine")
    assert engine.name == "fine"
    context = engine.context  # type: ignore[attr-defined]
    assert context.settings is others.settings
    assert context.store_path("0" * 64) == others.store.path("0" * 64)
    assert context.credential(None) is None


def test_engines_of_others_when_broken_then_the_rest_goes_on_and_it_is_said(
    others: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    others.engines.start()
    found = others.engines.every()
    broken = {name for name, engine in found.items() if isinstance(engine, EngineBroken)}
    assert broken == {"raising", "broken", "missing", "misnamed", "lazy"}
    assert others.engines.names == ("cwltool", "fine")
    assert list(others.engines.working()) == ["cwltool", "fine"]
    for name in broken:
        with pytest.raises(EngineBroken, match=name) as caught:
            others.engines.get(name)
        assert "a secret of the engine" not in str(caught.value)
        assert any(name in record.getMessage() for record in caplog.records)


def test_worker_when_engines_of_others_are_broken_then_it_takes_the_runs_of_the_rest(others: Installation) -> None:
    worker = Worker(others)
    taken = [name for elsewhere in (False, True) for name in worker.claimant(elsewhere=elsewhere).engines]
    assert sorted(taken) == ["cwltool", "fine", "lazy"]  # the last can be loaded, and has not been started here


def test_engines_of_others_when_they_say_that_they_are_not_set_up_then_there_are_none(others: Installation) -> None:
    with pytest.raises(UnknownEngine, match="'absent'"):
        others.engines.get("absent")
    assert "absent" not in others.engines.every()


def test_engines_of_others_when_they_take_a_name_of_ours_then_ours_stays(
    others: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    assert type(others.engines.get("cwltool")).__name__ == "CwltoolEngine"
    entry_points.found()
    assert "'cwltool' of fine_engine:make is left out" in caplog.text
    assert "'odd name'" in caplog.text


@pytest.mark.parametrize(
    ("values", "names", "default"),
    [
        ({}, {"cwltool"}, "cwltool"),
        ({"reana_server_url": "https://reana.example.org"}, {"cwltool", "reana"}, "reana"),
        ({"wes_url": "https://wes.example.org/ga4gh/wes/v1"}, {"cwltool", "wes"}, "cwltool"),
        ({"reana_server_url": "https://a.example.org", "default_engine": "cwltool"}, {"cwltool", "reana"}, "cwltool"),
    ],
)
def test_engines_of_ours_when_settings_name_a_server_then_they_are_there(
    values: dict[str, str], names: set[str], default: str, tmp_path: Path
) -> None:
    with opened_installation("sqlite", tmp_path, **values) as installation:
        assert set(installation.engines.names) == names
        assert installation.engines.default == default


def test_entry_points_when_read_from_the_project_then_are_those_that_are_installed() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][entry_points.GROUP]
    assert set(declared) == {"cwltool", "reana", "wes"}
    assert {name: entry.value for name, entry in entry_points.found().items() if name in declared} == declared


def test_names_when_asked_then_no_engine_is_loaded() -> None:
    program = (
        "import sys; from stemma.settings import Settings; from stemma.engines import entry_points; "
        "made = entry_points.installed(Settings(_env_file=None, reana_server_url='https://a.example.org'), None); "
        "print(sorted(made), [name for name in sys.modules if name.startswith('stemma.engines.')])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "['cwltool', 'reana'] ['stemma.engines.protocol', 'stemma.engines.entry_points']"


def test_every_when_an_engine_is_not_set_up_then_it_is_left_out() -> None:
    registry = EngineRegistry({"a": A, "b": lambda: None}, default="a")
    assert list(registry.every()) == ["a"]
    assert registry.names == ("a",)
