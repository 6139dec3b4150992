"""A bench whose engine is a REANA server: the stand-in, or the one that STEMMA_TEST_REANA_URL and _TOKEN name."""

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stemma.cwl.helper import Validator
from stemma.engines.reana.engine import ReanaEngine
from stemma.engines.reana.server import ReanaServer
from stemma.engines.replay.caller import TARGET, Replayer
from stemma.errors import EngineRefused, EngineUnreachable
from stemma.forkserver import ForkServer
from stemma.settings import Settings
from support.cwltool_bench import Bench
from support.reana_standin import ReanaStandin


def reana_client_is_there() -> None:
    """Skip the test where the extra ``reana`` is not installed; in CI it may not be missing."""
    if find_spec("reana_client") is not None:
        return
    if os.environ.get("CI"):  # noqa: TID251 - in CI nothing may be skipped
        pytest.fail("reana-client is not installed: in CI the REANA tests must run")
    pytest.skip("reana-client is not installed (the extra `reana`)")


@cache
def shared_standin() -> ReanaStandin:
    """One stand-in for all tests of a process that do not disturb it."""
    folder = tempfile.TemporaryDirectory(prefix="reana-standin-")
    standin = ReanaStandin(Path(folder.name), rate_limit=0)
    standin.__enter__()

    def end() -> None:
        standin.__exit__(None, None, None)
        folder.cleanup()

    atexit.register(end)
    return standin


@cache
def shared_validator() -> Validator:
    """One helper that packs documents."""
    validator = Validator(60, 1 << 30)
    atexit.register(validator.close)
    return validator


@cache
def shared_replays() -> ForkServer:
    """One parent of replays."""
    server = ForkServer(TARGET)
    atexit.register(server.close)
    return server


class ReanaBench(Bench):
    """A store, and an engine that runs what lies in it on REANA."""

    def __init__(self, home: Path, url: str, token: str, **settings: Any) -> None:
        super().__init__(home)
        self.settings = Settings(home=home, reana_server_url=url, **settings)
        self.server = ReanaServer(url, requests_per_second=200)
        self.token = token
        self.engine = self.new_engine()  # type: ignore[assignment]  # another engine on the same bench

    def close(self) -> None:
        """End what goes on, as far as the server lets it: it may be what a test has broken."""
        for reference in self._references:
            with suppress(EngineUnreachable, EngineRefused):
                self.engine.stop(reference)
        self.server.close()

    def new_engine(self) -> ReanaEngine:
        """The engine as another process would have it: it knows nothing of what the first one did."""
        return ReanaEngine(
            self.server,
            self.settings,
            runs_folder=self.runs,
            store_path=self.store_path,
            validator=shared_validator(),
            credential=lambda _: SecretStr(self.token),
            replayer=Replayer("reana", shared_replays()),
        )


@contextmanager
def reana_bench_in(home: Path, standin: ReanaStandin | None = None, **settings: Any) -> Iterator[ReanaBench]:
    """A bench whose jobs are ended with it."""
    reana_client_is_there()
    url, token = os.environ.get("STEMMA_TEST_REANA_URL"), os.environ.get("STEMMA_TEST_REANA_TOKEN", "")  # noqa: TID251 - tests may be pointed at a real server
    if standin is not None or url is None:
        standin = standin or shared_standin()
        url, token = standin.url, standin.token
    bench = ReanaBench(home, url, token, **settings)
    try:
        yield bench
    finally:
        bench.close()
