"""A WES server, an engine on it, and what a test of the engine needs around them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from stemma.engines.wes.engine import WesEngine
from stemma.records import Port, RevisionRecord
from support.cwltool_bench import Bench, Seen, wait_for

SETTINGS = {"sapporo": "STEMMA_TEST_WES_URL", "toil": "STEMMA_TEST_WES_TOIL_URL"}
_STOP_SECONDS = 60
_PATIENCE_SECONDS = 240
"""Toil takes half a minute for a step."""


def server_url(server: str = "sapporo") -> str:
    """Where a real server is; the test is skipped where there is none, and fails for that in CI."""
    setting = SETTINGS[server]
    url = os.environ.get(setting)  # noqa: TID251 - tests are told of servers by the environment
    if url:
        return url
    if os.environ.get("CI"):  # noqa: TID251 - in CI nothing may be skipped
        pytest.fail(f"{setting} is not set: in CI the WES tests must run")
    pytest.skip(f"{setting} names no WES server; .ci/start-wes starts one")


class WesBench(Bench):
    """A bench whose engine is one on a WES server."""

    def __init__(self, home: Path, url: str, **more: Any) -> None:
        super().__init__(home)
        self._others: list[WesEngine] = []
        settings = {"timeout_seconds": 20, "poll_seconds": 0.1, "tasks_seconds": 0.2, **more}
        self.engine: WesEngine = WesEngine(url, self.runs, self.store_path, **settings)  # type: ignore[assignment]

    def revision(self, files: dict[str, str], **more: Any) -> RevisionRecord:
        """A document, with its outputs as it has them: the engine goes by them."""
        made = super().revision(files, **more)
        document = yaml.safe_load(next(iter(files.values())))
        outputs = tuple(
            Port(name, **_form(output), sources=tuple(_listed(output))) for name, output in document["outputs"].items()
        )
        object.__setattr__(made.structure, "outputs", outputs)
        return made

    def follow(self, reference: str) -> Seen:
        """Ask until the job has ended, then from the beginning."""
        wait_for(lambda: self.engine.report(reference, "").state.is_terminal, _PATIENCE_SECONDS)
        return super().follow(reference)

    def reopened(self) -> WesEngine:
        """Another engine on the same folders, as another process has it."""
        engine = self.engine
        other = WesEngine(engine._url, self.runs, self.store_path, timeout_seconds=20, poll_seconds=0.0)
        other._files_root = engine._files_root
        self._others.append(other)
        return other

    def close(self) -> None:
        for reference in self._references:
            deadline = time.monotonic() + _STOP_SECONDS
            self.engine.stop(reference)
            while not self.engine.report(reference, "").state.is_terminal and time.monotonic() < deadline:
                time.sleep(0.1)
        for engine in (self.engine, *self._others):
            engine.close()


def _form(output: Any) -> dict[str, Any]:
    """The type as the registry keeps it: with ``null`` written out."""
    kind = output["type"] if isinstance(output, dict) else output
    return {"type": ["null", kind[:-1]] if isinstance(kind, str) and kind.endswith("?") else kind}


def _listed(output: Any) -> list[str]:
    source = output.get("outputSource", []) if isinstance(output, dict) else []
    return [source] if isinstance(source, str) else source


@contextmanager
def wes_bench(home: Path, url: str, **more: Any) -> Iterator[WesBench]:
    """A bench whose jobs are ended with it."""
    bench = WesBench(home, url, **more)
    try:
        yield bench
    finally:
        bench.close()
