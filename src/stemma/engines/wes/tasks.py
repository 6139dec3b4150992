"""The tasks that a server tells of a run, as executions of steps.

A task is one where the server tells when it began; one without any time is no fact of ours. How it ended is what its
exit code says; a task without one ends with the run. Which step of the document a task ran is known where it has the
step's name; another name is kept as it is. What it used and made no server tells.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID, uuid5

from stemma import clock
from stemma.engines.protocol import Fact, StepEnded, StepStarted
from stemma.engines.wes import logs, texts
from stemma.engines.wes.answers import Log, RunLog
from stemma.engines.wes.folder import Trail, WesFolder
from stemma.engines.wes.server import WesServer
from stemma.errors import EngineRefused
from stemma.records import StepKind
from stemma.states import StepState

_MOST_TASKS = 20_000
_KEY_CHARACTERS = 200
_COMMAND_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Task:
    """A task, and who it is here."""

    uuid: UUID
    key: str
    path: str
    kind: StepKind
    log: Log


def fetch_tasks(server: WesServer, run_id: str, log: RunLog) -> list[Log] | None:
    """The tasks of a run: in its log, or page by page as of version 1.1; None when the server does not tell them.

    Raises:
        EngineUnreachable: the server does not answer.
    """
    if log.task_logs:
        return log.task_logs[:_MOST_TASKS]
    url = f"{server.run_url(run_id)}/tasks"
    try:
        if log.task_logs_url is not None:
            url = server.resolve(log.task_logs_url, server.run_url(run_id), run_id)
        return list(_paged(server, url))
    except EngineRefused:  # most servers have no such thing
        return None


def _paged(server: WesServer, url: str) -> Iterator[Log]:
    token, seen, count = None, set(), 0
    while True:
        page = server.tasks(url, token)
        for task in page.tasks or ():
            count += 1
            yield task
        token = page.next_page_token
        if token is None or token in seen or count >= _MOST_TASKS:
            return
        seen.add(token)


def known_tasks(trail: Trail, told: Iterable[Log]) -> list[Task]:
    """Those of the tasks that are facts, each with an identity that it has in every look at the run."""
    tasks: list[Task] = []
    names: Counter[str] = Counter()
    for log in told:
        name = texts.sentence(log.name or log.id or "task")[:_KEY_CHARACTERS]
        names[name] += 1
        if log.start_time is None:
            continue
        key = name if names[name] == 1 else f"{name} #{names[name]}"
        uuid = uuid5(trail.run_uuid, f"task/{trail.attempt}/{key}")
        tasks.append(Task(uuid, key, name, StepKind(trail.steps.get(name, StepKind.TOOL)), log))
    return tasks


def facts_of(
    tasks: Iterable[Task], server: WesServer, folder: WesFolder, run_id: str, written: set[tuple[str, UUID]]
) -> list[Fact]:
    """What of ``tasks`` is not ``written`` yet."""
    facts: list[Fact] = []
    for task in tasks:
        log = task.log
        if log.start_time is None:
            continue
        if ("step-started", task.uuid) not in written:
            facts.append(
                StepStarted(
                    uuid=task.uuid,
                    key=task.key,
                    path=task.path,
                    kind=task.kind,
                    at=log.start_time,
                    command=tuple(server.clean(word) for word in log.cmd[:_COMMAND_WORDS]),
                    backend_job_id=log.id,
                )
            )
        if log.exit_code is not None and ("step-ended", task.uuid) not in written:
            facts.append(_ended(task, log, log.exit_code, server=server, folder=folder, run_id=run_id))
    return facts


def _ended(task: Task, log: Log, exit_code: int, *, server: WesServer, folder: WesFolder, run_id: str) -> StepEnded:
    tails = {}
    for stream, told in (("stdout", log.stdout), ("stderr", log.stderr)):
        text = logs.keep(server, run_id, told, folder.step_log(task.uuid, stream))
        tails[stream] = texts.tail(text) if text else None
    at = log.end_time or clock.now()
    return StepEnded(
        uuid=task.uuid,
        state=StepState.FINISHED if exit_code == 0 else StepState.FAILED,
        at=max(at, log.start_time or at),
        exit_code=exit_code,
        stdout_tail=tails["stdout"],
        stderr_tail=tails["stderr"],
        error=None if exit_code == 0 else f"step {task.key!r} failed: it ended with exit code {exit_code}",
    )


def told_about(told: list[Log] | None, tasks: list[Task]) -> str:
    """What the record says of where its steps come from."""
    if not told:
        return "not told by the server"
    if not tasks:
        return f"not told by the server: its {len(told)} tasks have no times"
    if len(tasks) == len(told):
        return "told by the server"
    return f"told by the server; {len(told) - len(tasks)} of its {len(told)} tasks have no times and are left out"
