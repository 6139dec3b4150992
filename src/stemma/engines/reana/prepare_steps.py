"""The steps of workflows, so that each job knows which execution it is.

The key of an execution (``by_year[2]/summarise``) stands in the tool where it is known beforehand. Below a scatter it
goes down through inputs of ours, and the scatter gets one more port, with the numbers of its elements, which a small
ExpressionTool counts.
"""

import copy
import re
from typing import Final

from stemma.engines.reana.prepare_contents import read_before, reader
from stemma.engines.reana.prepare_graph import listed, remaining, short
from stemma.engines.reana.prepare_products import combined, is_product, redirected
from stemma.engines.reana.prepare_text import names_all_inputs, strings
from stemma.engines.reana.prepare_tools import Names
from stemma.engines.reana.refusals import Refusals
from stemma.records import Json

_STEP_NAME: Final = re.compile(r"[\w.+@=:,~-][\w.+@=:,~ -]*")
_REWRITTEN_KEY: Final = re.compile(r"/tmp/.*/.*/")  # noqa: S108 - what the engine looks for
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
        self, workflow: str, step: dict[str, Json], run: str, process: dict[str, Json], path: str, *, is_fixed: bool
    ) -> list[dict[str, Json]]:
        """``step``, which runs ``process`` under the name ``run``, and the steps that it needs beside it.

        ``path`` is its definition's, and what its key is where its workflow is run once (``is_fixed``).
        """
        new = {key: copy.deepcopy(value) for key, value in step.items() if key not in {"requirements", "hints", "run"}}
        new = {**new, **copy.deepcopy(remaining(step)), "run": run}
        reading = f"{workflow}/{self._names.prefix}_read_{short(step['id'])}"
        helpers = read_before(new, process, prefix=reading, run=self.reader_id, path=path, refusals=self._refusals)
        self.has_readers = self.has_readers or bool(helpers)
        is_scattered = bool(listed(step.get("scatter")))
        has_key = process["class"] in {"CommandLineTool", "Workflow"} and (is_scattered or not is_fixed)
        self._check(step, path, has_key=has_key)
        if not has_key:
            return [new, *helpers]
        counting = self._scattered(workflow, new)
        port = self.at if process["class"] == "Workflow" else self._names.key
        key = path if is_fixed else f"$(self)/{short(step['id'])}"
        if counting:
            key += f"$(inputs.{self._index})" if is_product(step) else f"[$(inputs.{self._index})]"
        carrier = {"id": f"{step['id']}/{port}", "valueFrom": key}
        new["in"].append(carrier if is_fixed else {**carrier, "source": f"{workflow}/{self.at}"})
        return [new, *counting, *helpers]

    def helpers(self) -> list[dict[str, Json]]:
        """The processes of ours that steps of ours run."""
        return [self.indices()] * self.has_scatter + [reader(self.reader_id)] * self.has_readers

    def finished(self, workflow: dict[str, Json]) -> dict[str, Json]:
        """A workflow whose steps are done: the key needs ``valueFrom``, and steps of ours scatter."""
        requirements = workflow.setdefault("requirements", [])
        for kind in ("StepInputExpressionRequirement", "ScatterFeatureRequirement"):
            if not any(entry["class"] == kind for entry in requirements):
                requirements.append({"class": kind})
        return redirected(workflow, self._names.prefix)

    @property
    def _index(self) -> str:
        return f"{self._names.prefix}_index"

    def _scattered(self, workflow: str, step: dict[str, Json]) -> list[dict[str, Json]]:
        ports = listed(step.get("scatter"))
        if not ports:
            return []
        index = f"{step['id']}/{self._index}"
        if is_product(step):
            return combined(step, self._names.prefix, index, workflow)
        counted = next((port for port in step["in"] if port["id"] == ports[0]), None)
        if counted is None:
            return []
        self.has_scatter = True
        count = f"{workflow}/{self._names.prefix}_count_{short(step['id'])}"
        same = {
            key: copy.deepcopy(counted[key])
            for key in ("source", "linkMerge", "pickValue", "default")
            if key in counted
        }
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

    def _check(self, step: dict[str, Json], path: str, *, has_key: bool) -> None:
        name = path.rpartition("/")[2]
        if _STEP_NAME.fullmatch(name) is None:
            self._refusals.add(path, "step-name", f"REANA cannot carry its name {name!r}", "rename the step")
        if _REWRITTEN_KEY.search(f"{path}/"):
            self._refusals.add(
                path, "step-name", "REANA's engine rewrites its name, for '/tmp/' is in it", "rename the step"
            )
        for text in strings({key: value for key, value in step.items() if has_key and key in {"in", "when"}}):
            if names_all_inputs(text):
                reason = "an expression uses 'inputs' as a whole, which has entries more on REANA"
                remedy = "name the inputs that are meant, or run it on another engine"
                self._refusals.add(path, "whole-inputs", reason, remedy)
