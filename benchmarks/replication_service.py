"""Our contestant: the whole service, from the submission over HTTP until its end is told over HTTP."""

import json
import time
from pathlib import Path
from typing import Any

from common import await_answer, started
from replication_others import Place
from replication_workloads import MB, Workload, serial
from stemma.client import Attachment, Client, PasswordTokens

_BESIDE_BYTES = 2 * MB
"""What lies in the store beside inputs: documents and outputs."""


def stemma(work: Workload, place: Place) -> float:
    """A fresh service that has run something before, but knows nothing of the link and of this workflow.

    Its start is left out, as is what it loads when the first run comes: a small file that lies elsewhere is fetched
    and read by a run before.
    """
    settings = {
        "STEMMA_ALLOW_PLAIN_HTTP": "true",
        "STEMMA_ALLOW_PRIVATE_HOSTS": ",".join(_host(url) for url in (place.url, place.warm_url)),
        "STEMMA_CORES": str(work.slots),
        "STEMMA_STORE_BYTES": str(int(place.limit_bytes) + _BESIDE_BYTES),
        "STEMMA_CONTAINERS": "never",
    }
    with (
        started(place.folder, **settings) as (url, _),
        Client(url, PasswordTokens(url, "user_1", "password_1")) as client,
    ):
        await_answer(url)
        _run(client, place.folder, serial("warm", 1, 1, 0.0), {"f000": place.warm_url})
        time.sleep(1.0)  # what comes after a run's end is no part of the next
        run, took = _run(client, place.folder, work, {name: f"{place.url}/{name}" for name in work.files})
        place.moved_bytes = int(run["replication"]["bytes"]["moved"])
    return took


def _run(client: Client, folder: Path, work: Workload, addresses: dict[str, str]) -> tuple[dict[str, Any], float]:
    spec = folder / "main.cwl"
    spec.write_text(document(work))
    entry = client.workflows.register(name=work.name, version="1", spec=Attachment("main.cwl", spec)).id
    inputs = {f"f{number}": {"class": "File", "location": addresses[name]} for number, name in enumerate(work.files)}
    began = time.monotonic()
    run = client.runs.wait(client.runs.submit(entry, inputs=inputs).id)
    took = time.monotonic() - began
    if run.state != "finished":
        raise RuntimeError(run.reason)
    return dict(run.raw), took


def _host(url: str) -> str:
    return url.removeprefix("http://").partition("/")[0]


def document(work: Workload) -> str:
    """The workload as CWL: a step reads its files and sleeps."""
    steps: dict[str, Any] = {}
    names = {name: f"f{number}" for number, name in enumerate(work.files)}
    ids = {step.key: f"s{number}" for number, step in enumerate(work.steps)}
    for step in work.steps:
        files = {f"i{number}": names[name] for number, name in enumerate(step.files)}
        after = {f"a{number}": f"{ids[one]}/done" for number, one in enumerate(step.after)}
        ports = {port: {"type": "File", "inputBinding": {"position": 1}} for port in files}
        tool = {
            "class": "CommandLineTool",
            "baseCommand": ["sh", "-c", f'cat "$@" > /dev/null; sleep {step.seconds}; echo > done', "step"],
            "inputs": ports | dict.fromkeys(after, "File"),
            "outputs": {"done": {"type": "File", "outputBinding": {"glob": "done"}}},
        }
        steps[ids[step.key]] = {"run": tool, "in": files | after, "out": ["done"]}
    last = ids[work.steps[-1].key]
    inputs = dict.fromkeys(names.values(), "File")
    outputs = {"done": {"type": "File", "outputSource": f"{last}/done"}}
    return json.dumps({"cwlVersion": "v1.2", "class": "Workflow", "inputs": inputs, "outputs": outputs, "steps": steps})
