"""Documents run in REANA's manner without a server: the stand-in's engine, jobs as local processes.

What is compared here is what a tool left and how it ended; ``plain`` runs the same document with cwltool as it is.
"""

import io
import json
import logging
import multiprocessing
import os
import queue
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stemma.cwl.bundle import Bundle
from stemma.engines.reana.markers import JobResult, key_of, parse_log
from stemma.engines.reana.prepare import Prepared, prepare

Json = Any
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["support.reana_standin.engine.main", "cwltool.main"])


@dataclass
class Ran:
    """What came of a document."""

    status: str
    outputs: Json
    jobs: dict[str, JobResult | None] = field(default_factory=dict)
    """By their keys."""
    commands: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    workspace: Path = Path()

    def contents(self) -> Json:
        """The output object with the bytes of files in place of their whereabouts."""
        return contents(self.outputs)


def contents(value: Json) -> Json:
    """``value`` with each File as its name and bytes, each Directory as its entries."""
    if isinstance(value, list):
        return [contents(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if value.get("class") == "File":
        place = Path(value["path"] if "path" in value else _path(value["location"]))
        secondary = [contents(entry) for entry in value.get("secondaryFiles", [])]
        return (value["basename"], place.read_bytes(), *secondary)
    if value.get("class") == "Directory":
        place = Path(_path(value["location"]))
        below = sorted(path for path in place.rglob("*") if path.is_file())
        return (value["basename"], {str(path.relative_to(place)): path.read_bytes() for path in below})
    return {key: contents(entry) for key, entry in value.items()}


def packed(files: Mapping[str, bytes], main: str = "main.cwl") -> dict[str, Json]:
    """A bundle as one object, as the helper process packs it."""
    return _in_a_process(_pack, dict(files), main)


def reana(
    files: Mapping[str, bytes],
    inputs: Json,
    folder: Path,
    main: str = "main.cwl",
    shell: tuple[str, ...] = ("bash", "-c"),
) -> Ran:
    """Prepare a bundle and run it in REANA's manner; ``shell`` takes the place of the container's ``bash -c``."""
    prepared = prepare(packed(files, main), default_image=None, resource_hints={})
    assert not prepared.findings, prepared.findings
    return run_prepared(prepared, files, inputs, folder, shell)


def run_prepared(
    prepared: Prepared, files: Mapping[str, bytes], inputs: Json, folder: Path, shell: tuple[str, ...] = ("bash", "-c")
) -> Ran:
    """Run what was prepared."""
    workspace = folder / "workspace"
    uploads = {upload.target: upload.content for upload in prepared.uploads}
    for file in prepared.bundle_files:
        if file.is_directory:
            below = {path: content for path, content in files.items() if path.startswith(f"{file.path}/")}
            uploads |= {f"{file.target}{path.removeprefix(file.path)}": content for path, content in below.items()}
        else:
            uploads[file.target] = files[file.path]
    for target, content in uploads.items():
        (workspace / target).parent.mkdir(parents=True, exist_ok=True)
        (workspace / target).write_bytes(content)
    given = _uploaded(inputs, workspace, [0])
    answer = _in_a_process(_run_on_reana, str(workspace), prepared.document, given, shell)
    ran = Ran(answer["status"], answer["outputs"], workspace=workspace)
    for job in answer["jobs"]:
        key = key_of(job["cmd"])
        assert key is not None, job["cmd"]
        ran.jobs[key], ran.commands[key] = parse_log(job["log"]), job["cmd"]
        ran.statuses[key], ran.logs[key] = job["status"], job["log"]
    return ran


def plain(files: Mapping[str, bytes], inputs: Json, folder: Path, main: str = "main.cwl") -> Ran:
    """Run a bundle with cwltool as it is, packed so that names agree."""
    place = folder / "plain"
    for path, content in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    (place / "packed.json").write_text(json.dumps(packed(files, main)))
    (place / "inputs.json").write_text(json.dumps(_uploaded(inputs, place, [0])))
    answer = _in_a_process(_run_plainly, str(place))
    return Ran(answer["status"], answer["outputs"], workspace=place)


def _path(location: str) -> str:
    from urllib.parse import unquote

    return unquote(location.removeprefix("file://"))


def _uploaded(value: Json, workspace: Path, number: list[int]) -> Json:
    """Input values: a File of literal ``contents`` (str or bytes) and ``basename`` becomes an upload."""
    if isinstance(value, list):
        return [_uploaded(entry, workspace, number) for entry in value]
    if not isinstance(value, dict):
        return value
    new = {key: _uploaded(entry, workspace, number) for key, entry in value.items()}
    if new.get("class") == "File" and isinstance(new.get("contents"), bytes):
        target = f"data/{number[0]}/{new['basename']}"
        number[0] += 1
        (workspace / target).parent.mkdir(parents=True, exist_ok=True)
        (workspace / target).write_bytes(new.pop("contents"))
        new["location"] = target
    return new


def _in_a_process(work: Callable[..., Json], *arguments: Json) -> Json:
    here, there = _processes.Pipe()
    process = _processes.Process(target=_answer, args=(there, work, arguments))
    process.start()
    there.close()
    try:
        return here.recv()
    finally:
        process.join()


def _answer(pipe: Json, work: Callable[..., Json], arguments: Json) -> None:
    pipe.send(work(*arguments))
    os._exit(0)


def _pack(files: dict[str, bytes], main: str) -> Json:
    from stemma.cwl.validation import pack

    answer = pack(Bundle(files, main), 20_000_000)
    assert not answer["findings"], answer["findings"]
    return answer["packed"]


class _Desk:
    """Where the engine's jobs go: processes of this machine, at once."""

    def __init__(self, workspace: str, shell: tuple[str, ...]) -> None:
        self._workspace, self._shell = workspace, shell
        self.jobs: list[dict[str, Json]] = []
        self.ends: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def submit(self, job: dict[str, Json]) -> str:
        done = subprocess.run(
            [*self._shell, job["cmd"]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", check=False,
        )  # fmt: skip
        status = "finished" if done.returncode == 0 else "failed"
        log = "job: :\n " + done.stdout.decode("utf-8", "replace") + "\n\nCompleted\n"
        self.jobs.append({"cmd": job["cmd"], "status": status, "log": log})
        number = str(len(self.jobs))
        self.ends.put((number, status))
        return number

    def progress(self, **news: Json) -> None:
        pass


def _quiet(folder: str) -> None:
    target = os.open(f"{folder}/process.log", os.O_WRONLY | os.O_CREAT, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)


def _run_on_reana(workspace: str, document: Json, inputs: Json, shell: tuple[str, ...]) -> Json:
    from support.reana_standin.engine import main as engine
    from support.reana_standin.engine.pipeline import Pipeline

    _quiet(workspace)
    ends: list[Json] = []
    execute = Pipeline.execute

    def remember(*arguments: Json, **named: Json) -> Json:
        ends.append(execute(*arguments, **named))
        return ends[-1]

    Pipeline.execute = remember  # type: ignore[method-assign]
    desk = _Desk(workspace, shell)
    code, _ = engine._run(desk, {"workspace": workspace, "specification": document, "inputs": inputs, "options": []})
    return {
        "status": "finished" if code == 0 else "failed",
        "outputs": ends[-1][0] if ends else None,
        "jobs": desk.jobs,
    }


def _run_plainly(place: str) -> Json:
    import cwltool.main

    import support.reana_standin.engine.main  # noqa: F401 - it puts the Node on the PATH that is installed with Stemma

    _quiet(place)
    logging.disable(logging.CRITICAL)
    answer = io.StringIO()
    arguments = ["--no-container", "--outdir", f"{place}/out", f"{place}/packed.json", f"{place}/inputs.json"]
    os.chdir(place)
    code = cwltool.main.main(argsl=["--quiet", *arguments], stdout=answer)
    text = answer.getvalue()
    return {"status": "finished" if code == 0 else "failed", "outputs": json.loads(text) if text.strip() else None}


def remove(folder: Path) -> None:
    """Take a folder away whatever it holds."""
    shutil.rmtree(folder, ignore_errors=True)
