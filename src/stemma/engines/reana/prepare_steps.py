"""The steps of workflows, so that each job knows which execution it is.

The key of an execution (``by_year[2]/summarise``) goes down through inputs of ours. A scatter gets one more port, with
the numbers of its elements, which a small ExpressionTool counts.
"""

import copy
import re
from typing import Final

from stemma.engines.reana.prepare_contents import read_before, reader
from stemma.engines.reana.prepare_graph import listed, remaining, short
from stemma.engines.reana.prepare_text import names_all_inputs, strings
from stemma.engines.reana.prepare_tools import Names
from stemma.engines.reana.refusals import Refusals
from stemma.records import Json

_STEP_NAME: Final = re.compile(r"[\w.+@=:,~-][\w.+@=:,~ -]*")
_REWRITTEN_KEY: Final = re.compile(r"/tmp/.*/.*/")
_COUNT: Final = (
    "${ var r = []; var n = inputs.items ? inputs.items.length : 0; for (var i = 0; i < n; i++) { r.push(i); }"
    " return {indices: r}; }"
)


class Steps:
    """Rewrites steps, and remembers what they need."""

    def __init__(self, names: Names, refusals: Refusals) -> None:
        self._names = names
        self._refusals = refusals
        self.has_scatter = self.has_readers = False
        self.only_name: str | None = None
        """The key of the one step around a document that is a tool."""

    @property
    def at(self) -> str:
        """The input of a workflow that carries the key of its own execution."""
        return f"{self._names.prefix}_at"

    @property
    def indices_id(self) -> str:
        """The process that counts."""
        return f"#{self._names.prefix}_indices"

    @property
    def reader_id(self) -> str:
        """The process that reads a file."""
        return f"#{self._names.prefix}_contents"

    def indices(self) -> dict[str, Json]:
        """The process that makes the numbers 0 … n-1 for an array of n."""
        identifier = self.indices_id
        return {
            "class": "ExpressionTool",
            "id": identifier,
            "requirements": [{"class": "InlineJavascriptRequirement"}],
            "inputs": [{"id": f"{identifier}/items", "type": ["null", "Any"]}],
            "outputs": [{"id": f"{identifier}/indices", "type": {"type": "array", "items": "int"}}],
            "expression": _COUNT,
        }

    def rewritten(
        self, workflow: str, step: dict[str, Json], run: str, process: dict[str, Json], path: str
    ) -> list[dict[str, Json]]:
        """``step``, which runs ``process`` under the name ``run``, and the steps that it needs beside it."""
        name = self.only_name or short(step["id"])
        self._check(step, name, path)
        new = {key: copy.deepcopy(value) for key, value in step.items() if key not in {"requirements", "hints", "run"}}
        new = {**new, **copy.deepcopy(remaining(step)), "run": run}
        reading = f"{workflow}/{self._names.prefix}_read_{short(step['id'])}"
        helpers = read_before(new, process, reading, self.reader_id, path, self._refusals)
        self.has_readers = self.has_readers or bool(helpers)
        kind = process["class"]
        if kind not in {"CommandLineTool", "Workflow"}:
            return [new, *helpers]
        counting = self._scattered(workflow, new, path)
        is_root = "/" not in path
        source = None if is_root else f"{workflow}/{self.at}"
        key = name if is_root else f"$(self)/{name}"
        if counting:
            key += f"[$(inputs.{self._index})]"
        port = self.at if kind == "Workflow" else self._names.key
        new["in"].append(self._carrier(f"{step['id']}/{port}", source, key, is_plain=is_root and not counting))
        return [new, *counting, *helpers]

    def helpers(self) -> list[dict[str, Json]]:
        """The processes of ours that steps of ours run."""
        return [self.indices()] * self.has_scatter + [reader(self.reader_id)] * self.has_readers

    def require_features(self, workflow: dict[str, Json]) -> None:
        """Let a workflow's steps use ``valueFrom``, which the key needs, and steps of ours scatter."""
        requirements = workflow.setdefault("requirements", [])
        for kind in ("StepInputExpressionRequirement", "ScatterFeatureRequirement"):
            if not any(entry["class"] == kind for entry in requirements):
                requirements.append({"class": kind})

    @property
    def _index(self) -> str:
        return f"{self._names.prefix}_index"

    def _carrier(self, identifier: str, source: str | None, key: str, *, is_plain: bool) -> dict[str, Json]:
        if is_plain:
            return {"id": identifier, "default": key}
        carrier: dict[str, Json] = {"id": identifier, "valueFrom": key}
        if source is not None:
            carrier["source"] = source
        return carrier

    def _scattered(self, workflow: str, step: dict[str, Json], path: str) -> list[dict[str, Json]]:
        ports = listed(step.get("scatter"))
        if not ports:
            return []
        method = step.get("scatterMethod") or "dotproduct"
        if len(ports) > 1 and method != "dotproduct":
            reason = f"its {method} of {len(ports)} ports cannot be followed on REANA"
            self._refusals.add(path, "scatter", reason)
            return []
        counted = next((port for port in step["in"] if port["id"] == ports[0]), None)
        if counted is None:
            return []
        self.has_scatter = True
        count = f"{workflow}/{self._names.prefix}_count_{short(step['id'])}"
        same = {key: copy.deepcopy(counted[key]) for key in ("source", "linkMerge", "pickValue", "default") if key in counted}
        index = f"{step['id']}/{self._index}"
        step["in"].append({"id": index, "source": f"{count}/indices"})
        step["scatter"] = [*ports, index]
        step["scatterMethod"] = "dotproduct"
        return [
            {
                "id": count,
                "run": self.indices_id,
                "in": [{"id": f"{count}/items", **same}],
                "out": [f"{count}/indices"],
            }
        ]

    def _check(self, step: dict[str, Json], name: str, path: str) -> None:
        if _STEP_NAME.fullmatch(name) is None:
            self._refusals.add(path, "step-name", f"REANA cannot carry its name {name!r}", "rename the step")
        if _REWRITTEN_KEY.search(f"{path}/"):
            self._refusals.add(path, "step-name", "REANA's engine rewrites its name, for '/tmp/' is in it", "rename the step")
        spoken = {key: value for key, value in step.items() if key in {"in", "when"}}
        for text in strings(spoken):
            if names_all_inputs(text):
                reason = "an expression uses 'inputs' as a whole, which has entries more on REANA"
                remedy = "name the inputs that are meant, or run it on another engine"
                self._refusals.add(path, "whole-inputs", reason, remedy)
