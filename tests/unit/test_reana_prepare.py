"""What preparing makes of a document, and what it refuses."""

import json
from typing import Any

import pytest

from stemma.engines.reana.findings import command_findings, findings, input_findings
from stemma.engines.reana.prepare import BundleFile, prepare
from stemma.engines.reana.prepare_text import guarded, names_all_inputs, parts
from stemma.engines.reana.refusals import has_no_bash
from stemma.engines.reana.wrapping import SCRIPT, escaped, script

Json = Any


def tool(**fields: Json) -> dict[str, Json]:
    """A packed tool; ports as ``{name: type}``."""
    inputs = [{"id": f"#t/{name}", "type": kind} for name, kind in fields.pop("inputs", {}).items()]
    base = {"class": "CommandLineTool", "cwlVersion": "v1.2", "id": "#t", "baseCommand": "echo", "outputs": []}
    return {**base, "inputs": inputs, **fields}


def workflow(*steps: dict[str, Json], **fields: Json) -> dict[str, Json]:
    """A packed workflow whose steps run ``tool()``."""
    main = {"class": "Workflow", "id": "#main", "inputs": [], "outputs": [], "steps": list(steps), **fields}
    return {
        "cwlVersion": "v1.2",
        "$graph": [main, {key: value for key, value in tool().items() if key != "cwlVersion"}],
    }


def step(name: str = "s", **fields: Json) -> dict[str, Json]:
    return {"id": f"#main/{name}", "run": "#t", "in": [], "out": [], **fields}


def rules(packed: dict[str, Json]) -> list[str]:
    return [finding.rule for finding in findings(packed)]


def docker(**fields: Json) -> list[Json]:
    return [{"class": "DockerRequirement", **fields}]


def work_dir(*listing: Json) -> list[Json]:
    return [{"class": "InitialWorkDirRequirement", "listing": list(listing)}]


REFUSED: dict[str, tuple[dict[str, Json], str]] = {
    "an image without bash": (tool(requirements=docker(dockerPull="alpine:3.20")), "reana/image-without-bash"),
    "an image to be built": (tool(requirements=docker(dockerFile="FROM x")), "reana/docker"),
    "a folder of the image's": (tool(hints=docker(dockerPull="a", dockerOutputDirectory="/out")), "reana/docker"),
    "inputs changed in place": (
        tool(requirements=[{"class": "InplaceUpdateRequirement", "inplaceUpdate": True}]),
        "reana/inplace-update",
    ),
    "another program's requirement": (
        tool(requirements=[{"class": "http://commonwl.org/cwltool#MPIRequirement"}]),
        "reana/requirement",
    ),
    "a folder laid down with files": (
        tool(requirements=work_dir({"class": "Directory", "basename": "d", "listing": ["$(inputs.f)"]})),
        "reana/initial-work-dir",
    ),
    "a folder that an expression makes": (
        tool(requirements=work_dir({"entryname": "d", "entry": "$({class: 'Directory', listing: []})"})),
        "reana/initial-work-dir",
    ),
    "a list that is an expression": (
        tool(requirements=[{"class": "InitialWorkDirRequirement", "listing": "${ return []; }"}]),
        "reana/initial-work-dir",
    ),
    "an input laid down in another folder": (
        tool(inputs={"f": "File"}, requirements=work_dir({"entry": "$(inputs.f)", "entryname": "a/b"})),
        "reana/initial-work-dir",
    ),
    "a path that the engine rewrites, in an expression": (
        tool(arguments=["${ return '/tmp/a/b/c'; }"], requirements=[{"class": "InlineJavascriptRequirement"}]),
        "reana/rewritten-path",
    ),
    "standard input that is no input": (tool(stdin="words.txt"), "reana/stdin"),
    "an exit code that the engine does not know": (
        tool(
            successCodes=[3],
            outputs=[{"id": "#t/o", "type": "int", "outputBinding": {"outputEval": "$(runtime.exitCode)"}}],
        ),
        "reana/exit-code",
    ),
    "a command line that is too long": (tool(arguments=["x" * 100_000]), "reana/long-command"),
    "a default within a record": (
        tool(inputs={"r": {"type": "record", "fields": [{"name": "#t/r/a", "type": "int", "default": 3}]}}),
        "reana/record-default",
    ),
    "an operation": (
        {**workflow(step()), "$graph": [workflow(step())["$graph"][0], {**tool(), "class": "Operation"}]},
        "reana/operation",
    ),
    "a step with a name that breaks lines": (workflow(step("a\nb")), "reana/step-name"),
    "inputs as a whole below a scatter": (
        workflow(
            step(
                scatter="#main/s/a",
                **{"in": [{"id": "#main/s/a", "source": "#main/a"}, {"id": "#main/s/b", "valueFrom": "$(inputs)"}]},
            )
        ),
        "reana/whole-inputs",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_document_when_reana_would_get_it_wrong_then_it_is_refused(name: str) -> None:
    document, rule = REFUSED[name]
    assert rule in rules(document)


def test_finding_when_a_step_is_refused_then_it_names_step_and_remedy() -> None:
    document = workflow(step("inner"), requirements=docker(dockerPull="busybox"))
    (finding,) = findings(document)
    assert finding.message.startswith("step 'inner': ")
    assert "run it on another engine" in finding.message


@pytest.mark.parametrize(
    ("image", "is_without"),
    [
        ("alpine", True), ("alpine:3.20", True), ("docker.io/library/alpine:3", True), ("busybox:1.36", True),
        ("python:3.12-alpine", True), ("gcr.io/distroless/base", True), ("frolvlad/alpine-bash", False),
        ("python:3.12-slim", False), ("registry.example:5000/lab/tool:alpine-free", False), ("bash:5-alpine3.20", False),
        ("debian@sha256:0123", False),
    ],
)  # fmt: skip
def test_image_when_its_name_says_so_then_it_is_known_to_have_no_bash(image: str, is_without: bool) -> None:
    assert has_no_bash(image) is is_without


def test_tool_when_it_is_a_document_by_itself_then_it_becomes_the_step_of_its_name() -> None:
    made = prepare(tool(inputs={"t": "string"}), default_image=None, resource_hints={}).document
    main = next(process for process in made["$graph"] if process["id"] == "#main")
    assert main["class"] == "Workflow"
    (inner,) = [process for process in made["$graph"] if process["class"] == "CommandLineTool"]
    assert {"valueFrom": "t", "position": -2_000_000_000} in inner["arguments"]


def test_tool_when_it_names_no_image_then_the_default_one_is_named() -> None:
    made = prepare(tool(), default_image="debian:13", resource_hints={}).document
    (inner,) = [process for process in made["$graph"] if process["class"] == "CommandLineTool"]
    assert {"class": "DockerRequirement", "dockerPull": "debian:13"} in inner["requirements"]


def test_hints_for_reana_when_they_are_said_at_several_places_then_the_innermost_counts() -> None:
    outer, inner = ({"class": "reana", "kubernetes_memory_limit": size} for size in ("1Gi", "2Gi"))
    document = workflow(step(hints=[inner]), hints=[outer, {"class": "reana", "kubernetes_uid": 7}])
    made = prepare(
        document, default_image=None, resource_hints={"kubernetes_memory_limit": "9Gi", "kubernetes_job_timeout": 60}
    )
    said = [hint for process in made.document["$graph"] for hint in process.get("hints", [])]
    values = {"kubernetes_memory_limit": "2Gi", "kubernetes_job_timeout": 60, "kubernetes_uid": 7}
    assert [{key: value for key, value in hint.items() if key != "class"} for hint in said] == [values]


def test_names_of_ours_when_the_document_has_them_then_others_are_taken() -> None:
    port = {"id": "#main/s/stemma_key", "source": "#main/stemma_at"}
    document = workflow(step(scatter=["#main/s/stemma_key"], **{"in": [port]}))
    document["$graph"][1]["inputs"] = [{"id": "#t/stemma_key", "type": "string"}]
    made = json.dumps(prepare(document, default_image=None, resource_hints={}).document)
    assert '"#t/stemma___key"' in made


def test_requirements_when_two_steps_inherit_different_ones_then_each_has_a_tool_of_its_own() -> None:
    def environment(value: str) -> list[Json]:
        return [{"class": "EnvVarRequirement", "envDef": [{"envName": "V", "envValue": value}]}]

    document = workflow(step("a", requirements=environment("1")), step("b", requirements=environment("2")))
    made = prepare(document, default_image=None, resource_hints={}).document
    tools = [process for process in made["$graph"] if process["class"] == "CommandLineTool"]
    values = [
        word["valueFrom"]
        for one in tools
        for word in one["arguments"]
        if isinstance(word, dict) and word.get("prefix") == "V="
    ]
    assert sorted(values) == ["1", "2"]
    assert "EnvVarRequirement" not in json.dumps(made)


def test_defaults_when_they_are_files_of_the_bundle_then_they_get_places_in_the_workspace() -> None:
    ports = [
        {"id": "#t/f", "type": "File", "default": {"class": "File", "location": "a b/x.txt"}},
        {"id": "#t/g", "type": "File", "default": {"class": "File", "location": "a b/x.txt"}},
        {"id": "#t/d", "type": "Directory", "default": {"class": "Directory", "location": "dir/"}},
        {"id": "#t/h", "type": "File", "default": {"class": "File", "location": "https://example.org/x"}},
    ]
    made = prepare(tool(inputs={}) | {"inputs": ports}, default_image=None, resource_hints={})
    assert made.bundle_files == (
        BundleFile("a b/x.txt", "data/document/0/x.txt", is_directory=False),
        BundleFile("dir", "data/document/1/dir", is_directory=True),
    )
    assert not made.findings


def test_default_when_its_name_is_not_taken_by_the_engine_then_it_is_refused() -> None:
    port = {"id": "#t/f", "type": "File", "default": {"class": "File", "location": "a b.txt"}}
    assert rules(tool() | {"inputs": [port]}) == ["reana/file-name"]


def test_preparing_when_it_is_done_then_the_document_that_was_given_is_unchanged() -> None:
    document = workflow(step(scatter=["#main/s/a"], **{"in": [{"id": "#main/s/a", "source": "#main/a"}]}))
    before = json.dumps(document)
    assert prepare(document, default_image="x", resource_hints={}).uploads[0].target == SCRIPT
    assert json.dumps(document) == before


@pytest.mark.parametrize(
    ("inputs", "rule"),
    [
        ({"p": "/tmp/a"}, "reana/rewritten-path"),
        ({"p": [{"x": "see /var/lib/cwl/a"}]}, "reana/rewritten-path"),
        ({"p": "/bin/sh -c x"}, "reana/rewritten-path"),
        ({"f": {"class": "File", "basename": "a b", "location": "file:///tmp/x/y"}}, "reana/file-name"),
        (
            {"f": {"class": "File", "basename": "a.txt", "secondaryFiles": [{"class": "File", "basename": "$(x)"}]}},
            "reana/file-name",
        ),
        ({"s": "x" * 50_000}, "reana/too-large"),
        ({"s": "\U0001f57a"}, "reana/character"),
    ],
)
def test_input_values_when_reana_would_get_them_wrong_then_they_are_refused(inputs: Json, rule: str) -> None:
    assert [finding.rule for finding in input_findings(inputs)] == [rule]


def test_input_values_when_they_are_harmless_then_nothing_is_said() -> None:
    file = {"class": "File", "basename": "é_1.+-.txt", "location": "file:///tmp/a/b/c", "size": 1, "checksum": "x"}
    assert input_findings({"a": "/tmp", "b": [1, None, True], "f": file, "q": "it's $(x) `y`"}) == []


def test_command_when_the_engine_changed_it_then_it_is_said() -> None:
    assert [finding.rule for finding in command_findings(["cat", "/tmp/x/y/z"])] == ["reana/rewritten-path"]
    assert command_findings(["cat", "/data/tmp-x/y"]) == []


def test_text_when_it_is_taken_apart_then_expressions_keep_their_brackets_and_quotes() -> None:
    pieces = list(parts("a $(inputs.x[')'].y) b ${ return {a: '}'}; } \\$(no) $5"))
    assert [piece for is_expression, piece in pieces if is_expression] == [
        "$(inputs.x[')'].y)",
        "${ return {a: '}'}; }",
    ]
    assert "".join(piece for _, piece in pieces) == "a $(inputs.x[')'].y) b ${ return {a: '}'}; } \\$(no) $5"


def test_text_when_it_is_guarded_then_only_what_is_no_expression_changes() -> None:
    assert guarded("/tmp/a $('/tmp/b') /bin/sh", "@") == "/tmp@a $('/tmp/b') /bin@sh"


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [("$(inputs)", True), ("${return inputs;}", True), ("$(inputs.a)", False), ("$(inputs['a'])", False), ("inputs", False),
     ("$(self.inputs.a)", False), ("$(my_inputs)", False), ("${for (var k in inputs) {}}", True)],
)  # fmt: skip
def test_expression_when_it_uses_all_inputs_then_it_is_seen(text: str, is_whole: bool) -> None:
    assert names_all_inputs(text) is is_whole


def test_text_when_it_has_no_expression_then_it_is_not_escaped() -> None:
    assert escaped("a\\b $x") == "a\\b $x"
    assert escaped("$(x) \\ ${y}") == "\\$(x) \\\\ \\${y}"


def test_wrapper_when_it_is_read_then_it_names_nothing_that_the_engine_rewrites() -> None:
    assert b"/tmp/" not in script()
    assert b"cp() { main" not in script()
