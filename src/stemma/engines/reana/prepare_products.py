"""Scatters over all combinations of several lists, as scatters over the combinations themselves.

A step of ours makes the combinations, the step scatters over them side by side (``dotproduct``), and for a
``nested_crossproduct`` another step of ours puts the results back into lists of lists.
"""

import copy

from stemma.engines.reana.prepare_graph import listed, short
from stemma.records import Json

_LIST: Json = {"type": "array", "items": ["null", "Any"]}
_COMBINE = """${
  var lists = %s.map(function (name) { return inputs[name]; });
  var result = {sizes: lists.map(function (list) { return list.length; }), keys: []};
  lists.forEach(function (list, place) { result["o" + place] = []; });
  var go = function (place, chosen, key) {
    if (place === lists.length) {
      chosen.forEach(function (value, at) { result["o" + at].push(value); });
      result.keys.push(%s);
      return;
    }
    lists[place].forEach(function (value, at) { go(place + 1, chosen.concat([value]), key + "[" + at + "]"); });
  };
  go(0, [], "");
  return result;
}"""
_NEST = """${
  var at;
  var go = function (list, place) {
    var made = [];
    for (var i = 0; i < inputs.sizes[place]; i++) {
      made.push(place + 1 < inputs.sizes.length ? go(list, place + 1) : list[at++]);
    }
    return made;
  };
  var result = {};
  %s.forEach(function (name) { at = 0; result[name] = go(inputs[name], 0); });
  return result;
}"""


def is_product(step: dict[str, Json]) -> bool:
    """Whether a step is done for all combinations of several lists."""
    return len(listed(step.get("scatter"))) > 1 and step.get("scatterMethod") in {
        "flat_crossproduct",
        "nested_crossproduct",
    }


def combined(step: dict[str, Json], prefix: str, index: str, workflow: str) -> list[dict[str, Json]]:
    """Steps beside ``step`` (changed in place): what makes its combinations, and what nests its results.

    ``index`` is the port that takes the place of each combination in brackets (``[1][0]``); ``prefix`` is what names
    of ours begin with.
    """
    ports = listed(step["scatter"])
    is_nested = step["scatterMethod"] == "nested_crossproduct"
    entries = {entry["id"]: entry for entry in step["in"]}
    maker = f"{workflow}/{prefix}_combine_{short(step['id'])}"
    making: dict[str, Json] = {"id": maker, "in": [], "out": [f"{maker}/{name}" for name in ("keys", "sizes")]}
    for place, port in enumerate(ports):
        entry = entries[port]
        moved = {key: entry.pop(key) for key in ("source", "linkMerge", "pickValue", "default") if key in entry}
        making["in"].append({"id": f"{maker}/i{place}", **copy.deepcopy(moved)})
        making["out"].append(f"{maker}/o{place}")
        entry["source"] = f"{maker}/o{place}"
    making["run"] = _combiner(f"{maker}/run", len(ports), is_nested=is_nested)
    step["in"].append({"id": index, "source": f"{maker}/keys"})
    step["scatter"], step["scatterMethod"] = [*ports, index], "dotproduct"
    return [making, _nesting(step, f"{workflow}/{prefix}_nest_{short(step['id'])}", maker)] if is_nested else [making]


def redirected(workflow: dict[str, Json], prefix: str) -> dict[str, Json]:
    """``workflow``, whose links lead to nested results where there are some."""
    nested = {
        f"{step['in'][1]['source'].rpartition('/')[0]}/{short(out)}": out
        for step in workflow["steps"]
        if short(step["id"]).startswith(f"{prefix}_nest_") and len(step["in"]) > 1
        for out in step["out"]
    }
    if not nested:
        return workflow
    steps = [
        step
        if short(step["id"]).startswith(f"{prefix}_nest_")
        else {**step, "in": _replaced(step["in"], "source", nested)}
        for step in workflow["steps"]
    ]
    return {**workflow, "steps": steps, "outputs": _replaced(workflow["outputs"], "outputSource", nested)}


def _combiner(identifier: str, count: int, *, is_nested: bool) -> dict[str, Json]:
    names = [f"i{place}" for place in range(count)]
    key = "key" if is_nested else '"[" + result.keys.length + "]"'
    outputs = [{"id": f"{identifier}/o{place}", "type": _LIST} for place in range(count)]
    return {
        "class": "ExpressionTool",
        "id": identifier,
        "requirements": [{"class": "InlineJavascriptRequirement"}],
        "inputs": [{"id": f"{identifier}/{name}", "type": _LIST} for name in names],
        "outputs": [
            {"id": f"{identifier}/keys", "type": {"type": "array", "items": "string"}},
            {"id": f"{identifier}/sizes", "type": {"type": "array", "items": "int"}},
            *outputs,
        ],
        "expression": _COMBINE % (names, key),
    }


def _nesting(step: dict[str, Json], identifier: str, maker: str) -> dict[str, Json]:
    outs = [short(out if isinstance(out, str) else out["id"]) for out in step["out"]]
    run = f"{identifier}/run"
    return {
        "id": identifier,
        "in": [
            {"id": f"{identifier}/sizes", "source": f"{maker}/sizes"},
            *({"id": f"{identifier}/{out}", "source": f"{step['id']}/{out}"} for out in outs),
        ],
        "out": [f"{identifier}/{out}" for out in outs],
        "run": {
            "class": "ExpressionTool",
            "id": run,
            "requirements": [{"class": "InlineJavascriptRequirement"}],
            "inputs": [
                {"id": f"{run}/sizes", "type": {"type": "array", "items": "int"}},
                *({"id": f"{run}/{out}", "type": _LIST} for out in outs),
            ],
            "outputs": [{"id": f"{run}/{out}", "type": "Any"} for out in outs],
            "expression": _NEST % outs,
        },
    }


def _replaced(entries: list[Json], field: str, nested: dict[str, str]) -> list[Json]:
    new = []
    for entry in entries:
        source = entry.get(field)
        if isinstance(source, list):
            source = [nested.get(one, one) for one in source]
        new.append(
            {**entry, field: nested.get(source, source) if isinstance(source, str) else source} if source else entry
        )
    return new
