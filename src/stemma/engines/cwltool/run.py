"""One run, from loading the document to the output object."""

import logging
import os
import platform
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from cwltool.context import LoadingContext
from cwltool.errors import WorkflowException
from cwltool.load_tool import load_tool
from cwltool.process import Process
from schema_salad.exceptions import SchemaSaladException

from stemma.engines.cwltool import jobs, tools
from stemma.engines.cwltool.confinement import BundleFetcher, ConfinedAccess, ConfinedMapper
from stemma.engines.cwltool.context import RunContext
from stemma.engines.cwltool.executor import RunExecutor
from stemma.engines.cwltool.folder import AttemptFolder, RunOrder
from stemma.engines.cwltool.last_errors import LastErrors, last_error
from stemma.engines.cwltool.nodes import find_node, node_version, use_node
from stemma.engines.cwltool.places import Place
from stemma.engines.cwltool.ports import FinalOutputs, StagedInputs
from stemma.engines.cwltool.recorder import Recorder
from stemma.engines.protocol import JobState
from stemma.records import Json

_logger = logging.getLogger("cwltool")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    state: JobState
    outputs: dict[str, Json] | None = None
    reason: str | None = None


def environment(order: RunOrder, node: str | None) -> dict[str, Json]:
    """Where the run takes place, for the record."""
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cwltool": version("cwltool"),
        "node": node,
        "containers": order.containers,
        "container_engine": order.container_engine,
        "cores": order.cores,
        "ram_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def carry_out(order: RunOrder, folder: AttemptFolder, recorder: Recorder) -> Outcome:
    """Run what ``order`` says. A fault of any kind is the run's failure."""
    logging.getLogger("cwltool").addHandler(LastErrors())
    node = use_node(find_node())
    try:
        return _run(order, folder, recorder)
    except (WorkflowException, SchemaSaladException) as error:
        _logger.exception("the run failed")
        return Outcome(JobState.FAILED, reason=reason_of(recorder, error))
    except Exception as error:
        _logger.exception("the run failed by a fault of the engine")
        return Outcome(JobState.FAILED, reason=recorder.tidy(f"the engine failed: {type(error).__name__}: {error}"))
    finally:
        node.close()


def reason_of(recorder: Recorder, error: Exception | None) -> str:
    """Why the run failed, in a sentence: the first step's reason, else the library's words."""
    if recorder.first_failure is not None:
        return recorder.first_failure
    words = str(error) if error is not None else last_error()
    return recorder.tidy(words or "the run failed, and cwltool did not say why")


def _run(order: RunOrder, folder: AttemptFolder, recorder: Recorder) -> Outcome:
    jobs.install()
    tools.install()
    inputs = StagedInputs(recorder).of_value(order.inputs)
    process = load(folder, order)
    executor = RunExecutor(order.cores)
    context = context_of(order, folder, recorder)
    context.select_resources = executor.select_resources
    expand_formats(inputs, process)
    outputs, status = executor.execute(process, inputs, context)
    if status != "success":
        return Outcome(JobState.FAILED, reason=reason_of(recorder, None))
    if recorder.gate is not None:
        executor.wait_for_files(recorder.gate, list(recorder.gate.needed_for(outputs)))
    final = FinalOutputs(recorder)
    return Outcome(JobState.FINISHED, {port: final.of_value(value, port) for port, value in (outputs or {}).items()})


def load(folder: AttemptFolder, order: RunOrder, make_process: Any = tools.make_process) -> Process:
    """The document, read from the bundle and from nowhere else. It was checked when it was registered."""
    loading = LoadingContext()
    loading.construct_tool_object = make_process
    loading.fetcher_constructor = partial(BundleFetcher, str(folder.bundle))
    loading.disable_js_validation = True
    loading.eval_timeout = order.eval_timeout_seconds
    loading.doc_cache = False
    path, _, fragment = order.main_path.partition("#")
    uri = f"file://{quote(str(folder.bundle / path))}"
    return load_tool(f"{uri}#{fragment}" if fragment else uri, loading)


def context_of(order: RunOrder, folder: AttemptFolder, recorder: Recorder) -> RunContext:
    """Cwltool's context for the run."""
    context = RunContext(recorder, order.containers)
    if order.tool_path is not None:
        context.place = Place(order.tool_path, order.tool_path)
    context.basedir = str(folder.path)
    context.tmpdir_prefix = f"{folder.tmp}/t"
    context.tmp_outdir_prefix = f"{folder.tmp}/o"
    context.cidfile_dir = str(folder.containers)
    context.use_container = order.container_engine is not None
    context.eval_timeout = order.eval_timeout_seconds
    context.make_fs_access = partial(ConfinedAccess, recorder.confinement)  # type: ignore[assignment]  # it is only ever called
    context.path_mapper = partial(ConfinedMapper, recorder.confinement)  # type: ignore[assignment]  # as above
    return context


def expand_formats(value: Json, process: Process) -> None:
    """Write the formats of input files in full, by the prefixes that the document declares."""
    prefixes: Any = process.metadata.get("$namespaces") or {}
    if isinstance(value, dict):
        name, colon, rest = str(value.get("format", "")).partition(":")
        if value.get("class") == "File" and colon and name in prefixes:
            value["format"] = prefixes[name] + rest
        for part in value.values():
            expand_formats(part, process)
    elif isinstance(value, list):
        for part in value:
            expand_formats(part, process)


def known_node() -> tuple[str | None, str | None]:
    """The Node that expressions will use, and its version."""
    node = find_node()
    return node, node_version(node)
