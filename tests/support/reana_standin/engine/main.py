"""The process of a run: from the specification to the last word."""

import io
import json
import logging
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cwltool.main
from cwltool.argparser import arg_parser
from cwltool.context import LoadingContext, RuntimeContext

from stemma.engines.cwltool.nodes import find_node
from support.reana_standin.engine.desk import Desk
from support.reana_standin.engine.jobs import DEFAULT_IMAGE, RemoteJob, make_tool
from support.reana_standin.engine.pipeline import Pipeline, log

if (_node := find_node()) is not None:  # cwltool looks for one on the PATH alone
    os.environ["PATH"] = f"{os.environ['PATH']}:{Path(_node).parent}"  # noqa: TID251 - what the processes of runs get
_UMASK = 0o002
_LINE = "%(asctime)s | %(name)s | %(threadName)s | %(levelname)s | %(message)s"
_STATUS_OF = {0: "finished", 1: "failed"}


def run(pipe: Connection, log_file: str, task: dict[str, Any]) -> None:
    """Do ``task``, and say so; what is printed goes to ``log_file``, which is the engine pod's log.

    Args:
        pipe: to the server.
        log_file: where the output of this process goes.
        task: ``workspace``, ``specification``, ``inputs`` and ``options`` (arguments for cwltool).
    """
    os.setsid()
    _redirect(log_file)
    desk = Desk(pipe)
    try:
        code, printed = _run(desk, task)
        desk.end(_STATUS_OF[code], printed)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the run's last word
        desk.end("failed", f"Workflow exited unexpectedly.\n{error}")
    # Daemon threads of cwltool's are of no more use, and the pipe has taken everything.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _redirect(log_file: str) -> None:
    target = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    logging.basicConfig(level=logging.INFO, format=_LINE, stream=sys.stderr, force=True)
    # On a real server each line of the engine's is there twice, bare and with its time.
    log.addHandler(logging.StreamHandler(sys.stderr))


def _run(desk: Desk, task: dict[str, Any]) -> tuple[int, str]:
    workspace: str = task["workspace"]
    specification = task["specification"]
    os.chdir(workspace)
    os.umask(_UMASK)
    Path("workflow.json").write_text(json.dumps(specification))
    Path("inputs.json").write_text(json.dumps(task["inputs"]))
    print("workflow_spec:", specification, flush=True)
    steps = len(specification["$graph"]) if "$graph" in specification else 0
    nothing: dict[str, Any] = {"total": 0, "job_ids": []}
    desk.progress(total={"total": steps - 1, "job_ids": []}, running=nothing, finished=nothing, failed=nothing)
    for name in ("tmpdir", "outdir", "docker_stagedir"):
        Path(workspace, "cwl", name).mkdir(parents=True, exist_ok=True)
    arguments = [
        *task["options"],
        *("--tmpdir-prefix", f"{workspace}/cwl/tmpdir/"),
        *("--tmp-outdir-prefix", f"{workspace}/cwl/outdir/"),
        *("--default-container", DEFAULT_IMAGE),
        *("--outdir", f"{workspace}/outputs"),
        "workflow.json#main",
        "inputs.json",
    ]
    parsed = arg_parser().parse_args(arguments)
    RemoteJob.desk, RemoteJob.workspace, RemoteJob.submitted = desk, workspace, {}
    pipeline = Pipeline(desk, workspace)
    code = cwltool.main.main(
        args=parsed,
        executor=pipeline,
        loadingContext=LoadingContext({"construct_tool_object": make_tool}),
        runtimeContext=RuntimeContext(vars(parsed)),
        logger_handler=logging.StreamHandler(sys.stderr),
        stdout=io.StringIO(),
    )
    return code, pipeline.printed
