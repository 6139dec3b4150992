"""Whether engines elsewhere answer: asked seldom, told at once, and never in anybody's way."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import opened_installation, served_installation
from stemma.cli.examination import Part, examine
from stemma.engines.registry import EngineBroken, EngineRegistry
from stemma.errors import EngineRefused, EngineUnreachable
from stemma.lifecycle import probing
from stemma.lifecycle.probing import EngineProbes, Probed
from stemma.settings import Settings
from support.cwltool_bench import wait_for
from support.installed_engines import installed_engines
from support.scripted_engine import ScriptedEngine

ENGINES = """
from stemma.errors import EngineUnreachable
from support.scripted_engine import ScriptedEngine

def far(context):
    return ScriptedEngine(context.name, is_remote=True)

def silent(context):
    engine = ScriptedEngine(context.name, is_remote=True, unreachable_calls=10**6)
    engine.token = context.credential(None)
    return engine

def near(context):
    return ScriptedEngine(context.name)

def broken(context):
    raise ValueError("geheim")
"""
ENTRIES = {name: f"engines_of_probing:{name}" for name in ("far", "silent", "near", "broken")}


@dataclass
class Distant(ScriptedEngine):
    """An engine elsewhere that answers when it is let."""

    name: str = "far"
    is_remote: bool = True
    asked: int = 0
    fails: Exception | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def probe(self) -> str:
        self.asked += 1
        assert self.gate.wait(60)
        if self.fails is not None:
            raise self.fails
        return "7.1"


@pytest.fixture
def far() -> Iterator[Distant]:
    engine = Distant()
    engine.gate.set()
    yield engine
    engine.gate.set()


def probes(*engines: ScriptedEngine) -> EngineProbes:
    makers = {engine.name: lambda engine=engine: engine for engine in engines}
    return EngineProbes(EngineRegistry(makers, default=engines[0].name))


def test_seen_when_it_answers_then_its_version_and_it_is_asked_once(far: Distant) -> None:
    watching = probes(far, ScriptedEngine("near"))
    assert [watching.seen() for _ in range(50)] == [[Probed("far", "7.1")]] * 50
    assert far.asked == 1


def test_seen_when_the_last_answer_is_old_then_it_is_asked_in_the_background(
    far: Distant, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = probes(far)
    assert watching.seen() == [Probed("far", "7.1")]
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.0)
    far.gate.clear()
    far.fails = EngineUnreachable("far", "gone")
    assert [watching.seen() for _ in range(20)] == [[Probed("far", "7.1")]] * 20
    wait_for(lambda: far.asked == 2)
    far.gate.set()
    wait_for(lambda: watching.seen()[0].version is None)


def test_seen_when_nothing_is_heard_then_says_so_soon_and_asks_no_more(
    far: Distant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.0)
    far.gate.clear()
    watching = probes(far)
    assert [watching.seen() for _ in range(5)] == [[Probed("far", None, "it has not answered yet")]] * 5
    assert far.asked == 1


def test_seen_when_an_answer_is_overdue_then_the_one_before_holds_no_more(
    far: Distant, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = probes(far)
    assert watching.seen() == [Probed("far", "7.1")]
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(probing, "STALE_SECONDS", 0.0)
    far.gate.clear()
    assert watching.seen() == [Probed("far", None, "it has not answered yet")]


def test_seen_when_many_ask_at_once_then_one_question_goes_out(far: Distant) -> None:
    far.gate.clear()
    watching, told = probes(far), list[list[Probed]]()
    threads = [threading.Thread(target=lambda: told.append(watching.seen())) for _ in range(16)]
    for thread in threads:
        thread.start()
    wait_for(lambda: far.asked > 0)
    far.gate.set()
    for thread in threads:
        thread.join()
    assert told == [[Probed("far", "7.1")]] * 16
    assert far.asked == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EngineUnreachable("far", "no route"), "engine 'far' cannot be reached: no route"),
        (EngineRefused("far", "wrong token"), "engine 'far' refused: wrong token"),
        (ZeroDivisionError("geheim"), "it could not be asked (ZeroDivisionError)"),
    ],
)
def test_probe_when_it_fails_then_why(far: Distant, error: Exception, reason: str) -> None:
    far.fails = error
    assert probing.probe("far", far) == Probed("far", None, reason)
    assert probing.probe("far", EngineBroken("far", "not loaded")) == Probed("far", None, "not loaded")


def test_readyz_when_engines_are_elsewhere_then_tells_of_them_and_stays_ready(tmp_path: Path) -> None:
    with (
        installed_engines(tmp_path / "packages", {"engines_of_probing": ENGINES}, ENTRIES),
        opened_installation("sqlite", tmp_path / "home") as installation,
        served_installation(installation) as served,
        served.client() as client,
    ):
        began = time.monotonic()
        answer = client.get("/readyz")
        assert time.monotonic() - began < 30
        assert answer.status_code == 200
        assert answer.json()["data"]["engines"] == [
            {"name": "broken", "state": "unavailable", "version": None},
            {"name": "far", "state": "ready", "version": "scripted"},
            {"name": "silent", "state": "unavailable", "version": None},
        ]
        assert answer.json()["message"] == "ready, but runs wait on broken, silent: no answer from there"
        assert "geheim" not in answer.text


def test_doctor_when_engines_are_elsewhere_then_tells_of_each_and_needs_none(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path / "home", reana_access_token="geheim-token")
    with installed_engines(tmp_path / "packages", {"engines_of_probing": ENGINES}, ENTRIES):
        found = {part.name: part for part in examine(settings) if part.name.startswith("engine")}
    waits = "runs on it wait"
    assert found == {
        "engine far": Part("engine far", is_there=True, found="answers, version scripted", without=waits),
        "engine silent": Part(
            "engine silent", is_there=False, found="engine 'silent' cannot be reached: scripted", without=waits
        ),
        "engine broken": Part(
            "engine broken",
            is_there=False,
            found="it could not be loaded (ValueError); the service's log says more",
            without=waits,
        ),
    }
    assert not (tmp_path / "home").exists()


def test_doctor_when_the_default_engine_is_not_set_up_then_something_needed_is_missing(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path / "home", default_engine="wes")
    [part] = [part for part in examine(settings) if part.name == "engines"]
    assert part.is_needed
    assert not part.is_there
    assert "STEMMA_DEFAULT_ENGINE" in part.found
