"""What the owner of a token may do on a REANA server. The public face of all that talks to it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
import orjson
from pydantic import SecretStr

from stemma.engines.protocol import EngineIdentity
from stemma.engines.reana import answers, control, faults, workspace
from stemma.engines.reana.answers import RunLogs, RunState, RunStatus, ServerFacts, WorkspaceFile
from stemma.engines.reana.server import LARGEST_ANSWER, MIB, ReanaServer, Received
from stemma.engines.reana.watch import Watch

logger = logging.getLogger(__name__)

_RUNS_A_PAGE: Final = 200
_MOST_PAGES: Final = 1000
_JOBS_A_PAGE: Final = 512
_LARGEST_PAGE: Final = 16 * MIB
_LIST: Final = "its list of runs"

Found = TypeVar("Found")


class ReanaSession:
    """A server and a token.

    Every call raises ``EngineUnreachable`` where trying again later may help, and ``EngineRefused`` where it does not;
    the classes below these that a caller may want to tell apart are in :mod:`stemma.engines.reana.faults`. Runs are
    named by REANA's UUIDs: a 404 for one is looked into, and is ``RunGone`` only where REANA's list proves it.
    """

    def __init__(self, server: ReanaServer, token: SecretStr) -> None:
        self.server = server
        self._token = token
        self.watch = Watch(self)
        """Where runs are, for all that ask: see :class:`Watch`."""

    def __repr__(self) -> str:
        return f"ReanaSession({self.server.url!r})"

    def you(self) -> ServerFacts:
        """Who the token says that we are, and what the server is."""
        return answers.server_facts(self._json("GET", "/api/you"), self.server.clock_ahead)

    def create(self, name: str, specification: Mapping[str, Any] | bytes) -> EngineIdentity:
        """A new run of ``name``, with a workspace; it is started by ``start``.

        Args:
            name: ASCII, without a dot. Not unique: REANA numbers the runs of a name.
            specification: REANA's, or its JSON already.
        """
        body = specification if isinstance(specification, bytes) else orjson.dumps(specification)
        return answers.identity(self._json("POST", "/api/workflows", [("workflow_name", name)], body))

    def start(self, workflow_id: str) -> None:
        """Let it begin.

        Raises:
            AlreadyStarted: it was told so before.
        """
        self.run_call("start_workflow", workflow_id, parameters={})

    def specification(self, workflow_id: str) -> dict[str, Any]:
        """What it was created with."""
        return answers.specification(self.run_call("get_workflow_specification", workflow_id))

    def listed(
        self, *, name: str | None = None, states: Iterable[RunState] = (), page_size: int = _RUNS_A_PAGE
    ) -> Iterator[RunStatus]:
        """The owner's runs, the newest first, deleted ones among them: all, or those of that name and in these states.

        Those that cannot be understood are left out: they may be of other versions, and somebody else's.
        """
        wanted = [str(state) for state in states] or None
        for page in range(1, _MOST_PAGES):
            found = self._runs(workflow=name, status=wanted, page=page, size=page_size)
            for run in found:
                try:
                    status = answers.run_status(run, self.server.clock_ahead)
                except faults.WrongAnswer as error:
                    logger.warning("a run in the list of %s is left out: %s", self.server.url, error)
                else:
                    yield status
            if len(found) < page_size:
                return

    def find(self, workflow_id: str) -> RunStatus | None:
        """The run, deleted or not; None is the proof that the owner has none of that id."""
        checked = _id(workflow_id)
        found = self._runs(workflow=checked, page=1, size=10)
        runs = (answers.run_status(run, self.server.clock_ahead) for run in found)
        return next((run for run in runs if run.id == checked), None)

    def status(self, workflow_id: str) -> RunStatus:
        """Where the run is, asked now (``watch`` costs less).

        Raises:
            RunGone: the owner has no such run.
        """
        found = self.find(workflow_id)
        if found is None:
            raise faults.RunGone(workflow_id)
        return found

    def logs(self, workflow_id: str, begin: int = 0) -> RunLogs:
        """All logs, from the job at place ``begin`` on."""
        pages = list(self.log_pages(workflow_id, begin))
        return RunLogs(pages[-1].workflow_log, tuple(job for page in pages for job in page.jobs), begin)

    def log_pages(self, workflow_id: str, begin: int = 0) -> Iterator[RunLogs]:
        """The logs, some jobs at a time, from the one at place ``begin`` on; one page at least.

        Raises:
            AnswerTooLarge: the log of one job alone is too large.
        """
        size = _JOBS_A_PAGE
        first = begin - begin % size
        while True:
            try:
                page = self._log_page(workflow_id, first, size)
            except faults.AnswerTooLarge:
                if size == 1:
                    raise
                size //= 2
                first = max(first, begin - begin % size)
                continue
            skipped = max(begin - first, 0)
            yield replace(page, jobs=page.jobs[skipped:], begin=first + skipped)
            if len(page.jobs) < size:
                return
            first += size

    def stop(self, workflow_id: str) -> None:
        """End it.

        Raises:
            StateConflict: it does not run. What is queued or pending can only be deleted.
        """
        self.run_call("stop_workflow", workflow_id, force_stop=True)

    def delete(self, workflow_id: str) -> None:
        """Remove its workspace, and the run from what REANA shows. Again is no error.

        Raises:
            StateConflict: it runs.
        """
        self.run_call("delete_workflow", workflow_id, all_runs=False, workspace=True)

    def upload(self, workflow_id: str, path: str, source: Path | bytes | Iterable[bytes], size: int) -> None:
        """See :func:`workspace.upload`."""
        self.of_run(workflow_id, lambda: workspace.upload(self, _id(workflow_id), path, source, size))

    def files(self, workflow_id: str, under: str = "") -> Iterator[WorkspaceFile]:
        """See :func:`workspace.files`."""
        return workspace.files(self, _id(workflow_id), under)

    def file(self, workflow_id: str, path: str) -> WorkspaceFile | None:
        """See :func:`workspace.file`."""
        return workspace.file(self, _id(workflow_id), path)

    def download(self, workflow_id: str, path: str, size: int | None = None) -> Iterator[bytes]:
        """See :func:`workspace.download`."""
        return workspace.download(self, _id(workflow_id), path, size)

    def download_folder(
        self, workflow_id: str, folder: str, *, max_bytes: int = LARGEST_ANSWER
    ) -> Iterator[tuple[WorkspaceFile, bytes]]:
        """See :func:`workspace.download_folder`."""
        return workspace.download_folder(self, _id(workflow_id), folder, max_bytes=max_bytes)

    def exchange(
        self,
        method: str,
        path: str,
        parameters: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        limit: int = LARGEST_ANSWER,
    ) -> Received:
        """See :meth:`ReanaServer.exchange`."""
        return self.server.exchange(self._token, method, path, parameters=parameters, body=body, limit=limit)

    def answered(
        self,
        method: str,
        path: str,
        *,
        parameters: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        content: Iterable[bytes] | None = None,
    ) -> AbstractContextManager[httpx.Response]:
        """See :meth:`ReanaServer.answered`."""
        return self.server.answered(self._token, method, path, parameters=parameters, headers=headers, content=content)

    def of_run(self, workflow_id: str, ask: Callable[[], Found]) -> Found:
        """What ``ask`` asks of a run; where REANA says 404, whether that is so.

        Raises:
            RunGone: the owner has no such run.
            WorkspaceGone: it was deleted, or its files were.
            NotFoundThere: it is there all the same.
        """
        try:
            return ask()
        except faults.NotFoundThere as error:
            if faults.is_without_workspace(error):
                raise faults.WorkspaceGone(workflow_id) from error
            found = self.find(workflow_id)
            if found is None:
                raise faults.RunGone(workflow_id) from error
            if found.state is RunState.DELETED:
                raise faults.WorkspaceGone(workflow_id) from error
            raise

    def _log_page(self, workflow_id: str, begin: int, size: int) -> RunLogs:
        limit = LARGEST_ANSWER if size == 1 else _LARGEST_PAGE
        found = self.run_call("get_workflow_logs", workflow_id, limit, page=begin // size + 1, size=size)
        return answers.run_logs(found, self.server.clock_ahead, begin)

    def run_call(self, function: str, workflow_id: str, limit: int = LARGEST_ANSWER, /, **arguments: Any) -> Any:
        """What a function of reana-client answers about a run."""

        def exchange(method: str, path: str, parameters: list[tuple[str, str]], body: bytes | None) -> Received:
            return self.exchange(method, path, parameters, body, limit)

        checked = _id(workflow_id)
        return self.of_run(checked, lambda: control.call(function, exchange, workflow=checked, **arguments))

    def _runs(self, **arguments: Any) -> list[Any]:
        """A page of REANA's list."""
        found = control.call("get_workflows", self.exchange, type="batch", include_progress=True, **arguments)
        return answers.listed(found, _LIST)

    def _json(
        self, method: str, path: str, parameters: Iterable[tuple[str, str]] = (), body: bytes | None = None
    ) -> Any:
        return answers.loaded(self.exchange(method, path, parameters, body).body, "what it answers")


def _id(workflow_id: str) -> str:
    """``workflow_id``, which goes into addresses.

    Raises:
        ValueError: it is not one of REANA's.
    """
    return str(UUID(workflow_id))
