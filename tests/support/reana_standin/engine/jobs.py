"""Tools whose jobs go to the cluster."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

from cwltool.command_line_tool import CommandLineTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.job import JobBase, relink_initialworkdir
from cwltool.pathmapper import MapperEnt, PathMapper
from cwltool.process import Process, stage_files
from cwltool.utils import ensure_writable
from cwltool.workflow import default_make_tool
from ruamel.yaml.comments import CommentedMap

from support.reana_standin.engine.commands import Parts, command
from support.reana_standin.engine.desk import Desk

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_IMAGE = "frolvlad/alpine-bash"
_HINTS = ("kubernetes_job_timeout", "kubernetes_memory_limit", "compute_backend")


class RemoteTool(CommandLineTool):
    """A tool that runs in a pod."""

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:  # noqa: N803 - cwltool's name
        """Always a job of the cluster's."""
        if not self.get_requirement("DockerRequirement")[0]:
            self.requirements.insert(0, {"class": "DockerRequirement", "dockerPull": DEFAULT_IMAGE})
        return RemoteJob


def make_tool(document: CommentedMap, context: LoadingContext) -> Process:
    """What cwltool makes of a document, with our tools."""
    if document.get("class") == "CommandLineTool":
        return RemoteTool(document, context)
    return default_make_tool(document, context)


class RemoteJob(JobBase):
    """A job that a pod does; this process only says what it is, and looks at what it left."""

    desk: ClassVar[Desk]
    workspace: ClassVar[str]
    submitted: ClassVar[dict[str, "RemoteJob"]]

    def _required_env(self) -> dict[str, str]:
        return {"TMPDIR": self.tmpdir, "HOME": self.builder.outdir}

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: Any = None) -> None:  # noqa: N803 - cwltool's name
        """Stage what this process stages, and submit."""
        self._setup(runtimeContext)
        Path(self.tmpdir).mkdir(parents=True, exist_ok=True)
        self.environment.setdefault("PATH", PATH)
        self._stage()
        copies = self._copies(self.pathmapper)
        if self.generatemapper is not None:
            copies += self._copies(self.generatemapper)
        try:
            number = self.desk.submit(self._request(copies))
        except Exception as error:
            raise WorkflowException(error) from error
        self.submitted[number] = self
        self.desk.progress(running={"total": 1, "job_ids": [number]})

    def ended(self, status: str) -> None:
        """Collect the outputs, and tell the workflow."""
        code = 0 if status == "finished" else 1
        try:
            outputs = self.collect_outputs(self.outdir, code)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed and the others go on
            print(f"[job {self.name}] job error:\n{error}", flush=True)
            self._tell({}, "permanentFail")
        else:
            self._tell(dict(outputs), "permanentFail" if code else "success")
        if self.stagedir:
            shutil.rmtree(self.stagedir, ignore_errors=True)
        # All jobs of a run share this one, and the first that ends takes it away.
        shutil.rmtree(self.tmpdir, ignore_errors=True)

    def _tell(self, outputs: dict[str, Any], status: str) -> None:
        if self.output_callback is not None:
            self.output_callback(outputs, status)

    def _request(self, copies: list[tuple[str, str]]) -> dict[str, Any]:
        image = self.get_requirement("DockerRequirement")[0] or {}
        quotes = [binding["shellQuote"] for binding in self.builder.bindings if "shellQuote" in binding]
        parts = Parts(
            words=self.command_line,
            home=self.environment["HOME"],
            own_folder=self.outdir,
            workspace=self.workspace,
            environment=dict(self.environment),
            copies=copies,
            wants_shell=self.get_requirement("ShellCommandRequirement")[0] is not None,
            first_shell_quote=bool(quotes[0]) if quotes else True,
            stdin=self.stdin,
            stdout=self.stdout,
            stderr=self.stderr,
            output_directory=str(image.get("dockerOutputDirectory") or ""),
        )
        hints = {name: self._hint(name) for name in _HINTS}
        return {"job_name": self.name, "docker_img": str(image["dockerPull"]), "cmd": command(parts), **hints}

    def _hint(self, name: str) -> Any:
        return next((hint[name] for hint in self.hints or () if name in hint), None)

    def _stage(self) -> None:
        """What the engine puts in place itself: folders, and files that the document writes out."""
        try:
            stage_files(self.pathmapper, ignore_writable=True, symlink=False)
            if self.generatemapper is not None:
                self._stage_generated(self.generatemapper)
                relink_initialworkdir(
                    self.generatemapper, self.outdir, self.builder.outdir, inplace_update=self.inplace_update
                )
        except OSError as error:
            print(f"[job {self.name}] staging: {error}", flush=True)

    def _stage_generated(self, mapper: PathMapper) -> None:
        """Put what is to be writable where the tool runs; texts of the document do not get there."""
        for entry in dict(mapper.items()).values():
            if not entry.staged or entry.type not in {"Directory", "WritableFile", "WritableDirectory"}:
                continue
            Path(entry.target).parent.mkdir(parents=True, exist_ok=True)
            if entry.resolved.startswith("_:"):
                Path(entry.target).mkdir(exist_ok=True)
            elif entry.type == "WritableFile" and not self.inplace_update:
                shutil.copy(entry.resolved, entry.target)
                ensure_writable(entry.target)
            elif entry.type == "WritableDirectory" and not self.inplace_update:
                shutil.copytree(entry.resolved, entry.target)
                ensure_writable(entry.target)

    def _copies(self, mapper: PathMapper) -> list[tuple[str, str]]:
        """What the job is to copy; other entries are put into the job's own folder here, where it does not look."""
        found = []
        for entry in dict(mapper.items()).values():
            if not entry.staged:
                continue
            if entry.type in {"File", "Directory"}:
                if not entry.resolved.startswith("_:"):
                    found.append((_source(entry), entry.target))
            else:
                self._put(entry)
        return found

    def _put(self, entry: MapperEnt) -> None:
        home = self.builder.outdir
        inside = entry.target.startswith(home + "/")
        own = f"{self.outdir}/{entry.target[len(home) + 1 :]}" if inside else None
        if entry.type == "CreateFile" and own is not None:
            Path(own).write_bytes(entry.resolved.encode())
        elif entry.type == "WritableFile" and own is not None and not self.inplace_update:
            shutil.copy(entry.resolved, own)
            ensure_writable(own)
        elif entry.type == "WritableDirectory" and entry.resolved.startswith("_:"):
            Path(entry.target).mkdir(parents=True, exist_ok=True)
        elif entry.type == "WritableDirectory" and own is not None and not self.inplace_update:
            shutil.copytree(entry.resolved, own)
            ensure_writable(own)


def _source(entry: MapperEnt) -> str:
    if Path(entry.resolved).exists():
        return entry.resolved
    return f"{Path(entry.resolved).parent}/{Path(entry.target).name}"
