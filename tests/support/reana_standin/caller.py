"""Short ways to talk to a REANA server, and short documents for it."""

import json
import time
from typing import Any, Self

import httpx

_ENDED = frozenset({"finished", "failed", "stopped", "deleted"})


class Caller:
    """Speaks for one user."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.Client(base_url=f"{url}/api", params={"access_token": token}, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.http.close()

    def create(self, document: dict[str, Any] | None, inputs: dict[str, Any] | None = None, name: str = "w") -> str:
        """A new workflow; its id."""
        workflow = {"type": "cwl", "file": "w.cwl", **({"specification": document} if document else {})}
        body = {"workflow": workflow, "inputs": {"parameters": inputs or {}}}
        answer = self.http.post("/workflows", params={"workflow_name": name}, json=body)
        assert answer.status_code == 201, answer.text
        number: str = answer.json()["workflow_id"]
        return number

    def upload(self, number: str, name: str, content: bytes) -> None:
        """Put a file into the workspace."""
        answer = self.http.post(
            f"/workflows/{number}/workspace",
            params={"file_name": name},
            content=content,
            headers={"content-type": "application/octet-stream"},
        )
        assert answer.status_code == 200, answer.text

    def start(self, number: str, **body: Any) -> httpx.Response:
        """Ask for it to run."""
        return self.http.post(f"/workflows/{number}/start", json=body)

    def set_status(self, number: str, status: str, **body: Any) -> httpx.Response:
        """Stop or delete."""
        return self.http.put(f"/workflows/{number}/status", params={"status": status}, json=body)

    def status(self, number: str) -> dict[str, Any]:
        """What ``/status`` tells."""
        answer = self.http.get(f"/workflows/{number}/status")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def until(self, number: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """What ``/status`` tells, as soon as the run has one of the ``statuses``, or has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            told = self.status(number)
            if told["status"] in {*statuses, *_ENDED}:
                return told
            time.sleep(0.03)
        raise AssertionError(f"still {told['status']}: {told}")

    def run(self, document: dict[str, Any], inputs: dict[str, Any] | None = None, **uploads: bytes) -> "Ended":
        """From creation to the end; ``__`` in a name of an upload stands for a dot."""
        number = self.create(document, inputs)
        for name, content in uploads.items():
            self.upload(number, name.replace("__", "."), content)
        assert self.start(number).status_code == 200
        return Ended(self, self.until(number))

    def logs(self, number: str) -> dict[str, Any]:
        """``workflow_logs`` and ``job_logs``."""
        told: dict[str, Any] = json.loads(self.http.get(f"/workflows/{number}/logs").json()["logs"])
        return told

    def names(self, number: str) -> list[str]:
        """The files of the workspace."""
        return [entry["name"] for entry in self.http.get(f"/workflows/{number}/workspace").json()["items"]]

    def content(self, number: str, name: str) -> str:
        """A small file of the workspace."""
        answer = self.http.get(f"/workflows/{number}/workspace/{name}")
        assert answer.status_code == 200, answer.text
        return answer.text


class Ended:
    """A run at its end."""

    def __init__(self, caller: Caller, told: dict[str, Any]) -> None:
        self.caller = caller
        self.number: str = told["id"]
        self.status: str = told["status"]
        self.progress: dict[str, Any] = told["progress"]
        logs = caller.logs(self.number)
        self.log: str = logs["workflow_logs"]
        self.jobs: list[dict[str, Any]] = list(logs["job_logs"].values())

    @property
    def outputs(self) -> Any:
        """What stands between the two words in the log."""
        return json.loads(self.log.split("FinalOutput")[1])

    def content(self, name: str) -> str:
        """A small file of the workspace."""
        return self.caller.content(self.number, name)

    def names(self) -> list[str]:
        """The files of the workspace."""
        return self.caller.names(self.number)


def tool(number: str, script: str, *, glob: str = "*.txt", **more: Any) -> dict[str, Any]:
    """A tool that gives ``script`` to a shell; each word of ``takes`` is an input, and one of its arguments."""
    takes: dict[str, str] = more.pop("takes", {})
    return {
        "class": "CommandLineTool",
        "id": f"#{number}",
        "baseCommand": ["bash", "-c", script, "tool"],
        "inputs": [
            {"id": f"#{number}/{name}", "type": kind, "inputBinding": {"position": place}}
            for place, (name, kind) in enumerate(takes.items())
        ],
        "outputs": [{"id": f"#{number}/made", "type": "File[]", "outputBinding": {"glob": glob}}],
        **more,
    }


def packed(*tools: dict[str, Any], scatter: str | None = None, **more: Any) -> dict[str, Any]:
    """A packed workflow: one step each tool, in a chain where a tool takes ``made``.

    Other inputs of the tools are inputs of the workflow, by their names; ``scatter`` is the one that comes as a list.
    """
    steps, outputs, inputs = [], [], {}
    before = ""
    for one in tools:
        step = f"#main/{one['id'][1:]}"
        wired = []
        for port in one["inputs"]:
            name = port["id"].rpartition("/")[2]
            if name == "made":
                wired.append({"id": f"{step}/made", "source": f"{before}/made"})
                continue
            inputs[name] = f"{port['type']}[]" if name == scatter else port["type"]
            wired.append({"id": f"{step}/{name}", "source": f"#main/{name}"})
        steps.append({"id": step, "run": one["id"], "in": wired, "out": [f"{step}/made"]})
        if scatter:
            steps[-1]["scatter"] = f"{step}/{scatter}"
        outputs.append(
            {"id": f"{step}_made", "type": "Any", "outputSource": f"{step}/made"},
        )
        before = step
    main = {
        "class": "Workflow",
        "id": "#main",
        "requirements": [{"class": "ScatterFeatureRequirement"}],
        "inputs": [{"id": f"#main/{name}", "type": kind} for name, kind in inputs.items()],
        "outputs": outputs,
        "steps": steps,
        **more,
    }
    return {"cwlVersion": "v1.2", "$graph": [main, *tools]}
