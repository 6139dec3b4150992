"""Input objects: read, checked against every type, and searched for files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.cwl import steps
from stemma.cwl.inputs import FileSource, SourceKind, check_inputs, file_references, read_inputs
from stemma.errors import InvalidInputs, TooLarge
from stemma.records import Port, StepDefinition, StepInput, StepKind, WorkflowStructure


def taking(**types):
    ports = tuple(
        Port(name, kind, required=not (isinstance(kind, str) and kind.endswith("?"))) for name, kind in types.items()
    )
    return WorkflowStructure("v1.2", "Workflow", ports, (), ())


def problems(kind, value):
    return [(finding.rule, finding.message) for finding in check_inputs(taking(x=kind), {"x": value})]


FILE = {"class": "File", "location": "a.txt"}
ENUM = {"type": "enum", "symbols": ["fast", "slow"]}
RECORD = {"type": "record", "fields": [{"name": "n", "type": "int"}, {"name": "f", "type": "File?"}]}
ARRAY = {"type": "array", "items": "int"}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("null", [None], [0, "", []]),
        ("boolean", [True, False], [0, 1, "true", None]),
        ("int", [0, -(2**31), 2**31 - 1], [2**31, -(2**31) - 1, 1.0, True, "1"]),
        ("long", [2**31, 2**63 - 1, -(2**63)], [2**63, 1.5, False]),
        ("float", [1, 1.5], ["1.5", True, [1.0]]),
        ("double", [1, 1.5], ["1.5", True]),
        ("string", ["", "x"], [1, None, ["x"]]),
        ("File", [FILE], ["a.txt", {"class": "Directory", "basename": "d", "listing": []}, {"location": "a"}]),
        ("stdin", [FILE], ["a.txt"]),
        ("Directory", [{"class": "Directory", "basename": "d", "listing": [FILE]}], [FILE, "d"]),
        ("Any", [1, "x", [1], {"a": 1}, FILE], [None]),
        (ENUM, ["fast"], ["fats", 1, None]),
        (ARRAY, [[], [1, 2]], [1, ["x"], [1, None], {}]),
        ("int[]", [[], [1]], [1, ["1"]]),
        ("int[]?", [None, [1]], [1, ["1"]]),
        ("int?", [None, 1], ["1"]),
        (["null", "int", "string"], [None, 1, "x"], [1.5, []]),
        (RECORD, [{"n": 1}, {"n": 1, "f": FILE}], [{}, {"n": "1"}, {"n": 1, "g": 2}, [], {"n": 1, "f": 5}]),
        ([RECORD, "int"], [1, {"n": 1}], [{"n": "1"}, "x"]),
        ({"type": "array", "items": {"type": "array", "items": ENUM}}, [[["fast"]], []], [["fast"], [["x"]]]),
    ],
)
def test_check_when_a_value_fits_its_type_then_nothing_is_said_and_else_something(kind, good, bad):
    for value in good:
        assert problems(kind, value) == []
    for value in bad:
        (problem, *_) = problems(kind, value)
        assert problem[0] == "inputs/type"


def test_check_when_deep_inside_then_the_position_is_told():
    kind = {"type": "array", "items": RECORD}
    assert problems(kind, [{"n": 1}, {"n": "2"}]) == [("inputs/type", "x[1].n: takes int, not '2'")]
    assert problems(RECORD, {"n": 1, "m": 1}) == [
        ("inputs/type", "x.m: the record has no such field; known are f, n"),
    ]


def test_check_when_missing_or_unknown_then_told_with_place_and_near_name():
    inputs = read_inputs(b"textt: 1\n\nnumber: x\n", "in.yml")
    findings = check_inputs(taking(text="string", number="int", optional="int?"), inputs)
    assert [(one.rule, one.file, one.line, one.column) for one in findings] == [
        ("inputs/unknown", "in.yml", 1, 8),
        ("inputs/missing", "in.yml", None, None),
        ("inputs/type", "in.yml", 3, 9),
    ]
    assert "did you mean 'text'?" in findings[0].message


def test_check_when_an_optional_value_is_null_then_it_counts_as_left_out():
    structure = WorkflowStructure("v1.2", "Workflow", (Port("x", "int", required=False, default=4),), (), ())
    assert check_inputs(structure, {"x": None}) == []
    assert check_inputs(structure, {}) == []


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ({"location": "my%20file.txt"}, SourceKind.UPLOAD, "my file.txt"),
        ({"path": "my%20file.txt"}, SourceKind.UPLOAD, "my%20file.txt"),
        ({"location": f"stemma:sha256:{'ab' * 32}"}, SourceKind.CONTENT, "ab" * 32),
        ({"location": "stemma:file:12"}, SourceKind.ENTITY, "12"),
        ({"valueFromEntity": "{{5}}"}, SourceKind.ENTITY, "5"),
        ({"valueFromPlatform": "{{https://example.org/x}}"}, SourceKind.PLATFORM, "https://example.org/x"),
        ({"contents": "hello", "basename": "h.txt"}, SourceKind.LITERAL, "hello"),
    ],
)
def test_file_when_it_says_where_it_is_then_that_is_its_source(value, kind, text):
    given = {"class": "File", **value}
    assert problems("File", given) == []
    (reference,) = file_references({"x": given})
    assert reference.source == FileSource(kind, text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "a location"),
        ({"location": "/etc/passwd"}, "of the server"),
        ({"path": "/etc/passwd"}, "of the server"),
        ({"location": "file:/etc/passwd"}, "of the server"),
        ({"location": "FILE://host/etc/passwd"}, "of the server"),
        ({"path": "file:passwd"}, "of the server"),
        ({"location": "ftp://example.org/x"}, "addresses begin with"),
        ({"path": "gopher://example.org/x"}, "addresses begin with"),
        ({"location": "s3://bucket/x", "checksum": "md5:0"}, "sha256:"),
        ({"location": "../x"}, "'/'"),
        ({"location": ".."}, "name"),
        ({"location": "%2e%2e%2fx"}, "'/'"),
        ({"location": "a%00b"}, "NUL"),
        ({"path": "a\0b"}, "NUL"),
        ({"path": "a\\b"}, "backslash"),
        ({"path": "x" * 256}, "longer"),
        ({"location": "stemma:sha256:abc"}, "64 hexadecimal"),
        ({"location": "stemma:file:0"}, "number"),
        ({"valueFromEntity": "5"}, "{{5}}"),
        ({"location": "a", "path": "a"}, "alone"),
        ({"location": 5}, "text"),
        ({"contents": "x" * 65537, "basename": "b"}, "upload"),
        ({"location": "a", "basename": "x/y"}, "basename"),
        ({"location": "a", "basename": "é" * 128}, "basename"),
        ({"location": "a", "basename": ".."}, "basename"),
        ({"location": "a", "secondaryFiles": ["b"]}, "secondaryFiles"),
        ({"listing": []}, "Directory"),
        ({"location": "a", "format": {"class": "File", "basename": "y", "checksum": "sha256:0"}}, "format"),
        ({"location": "a", "format": ["x"]}, "format"),
    ],
)
def test_file_when_it_names_what_is_refused_then_told_what_to_do(value, said):
    ((rule, message),) = problems("File", {"class": "File", **value})
    assert rule == "inputs/file"
    assert said in message


def test_file_when_its_format_is_text_or_null_then_taken():
    assert problems("File", {**FILE, "format": "edam:format_3752"}) == []
    assert problems("File", {**FILE, "format": None}) == []


@pytest.mark.parametrize(
    "value",
    [
        {"stemma:occurrence": "no"},
        [{"a": {"stemma:occurrence": 5}}],
        {**FILE, "stemma:occurrence": None},
        {**FILE, "secondaryFiles": [{**FILE, "stemma:occurrence": "x"}]},
        {**FILE, "more": {"stemma:occurrence": "x"}},
    ],
)
def test_check_when_our_own_key_is_given_then_refused_wherever_it_is(value):
    ((rule, message),) = problems("Any", value)
    assert (rule, "reserved" in message) == ("inputs/reserved", True)


def test_check_when_a_class_is_no_text_then_it_is_a_value():
    assert problems("Any", {"class": [{"class": {}}]}) == []


def test_check_when_too_many_files_are_named_then_too_large():
    assert problems("File[]", [FILE] * 10_000) == []
    with pytest.raises(TooLarge, match="10000 files"):
        problems("File[]", [FILE] * 10_001)


def test_directory_when_given_by_a_name_then_its_files_are_asked_for():
    ((rule, message),) = problems("Directory", {"class": "Directory", "location": "d"})
    assert (rule, "listing" in message) == ("inputs/file", True)
    assert problems("Directory", {"class": "Directory", "location": "stemma:file:3"}) == []


def test_file_references_when_nested_then_each_has_its_position_parents_first():
    inner = {"class": "File", "location": "i"}
    folder = {"class": "Directory", "basename": "d", "listing": [inner, {"class": "File", "location": "j"}]}
    main = {"class": "File", "location": "m", "secondaryFiles": [inner, folder]}
    found = list(file_references({"x": [1, {"r": main}], "y": "text", "z": inner}))
    assert [(one.port, one.position, one.value.get("location")) for one in found] == [
        ("x", "[1].r", "m"),
        ("x", "[1].r.secondaryFiles[0]", "i"),
        ("x", "[1].r.secondaryFiles[1]", None),
        ("x", "[1].r.secondaryFiles[1].listing[0]", "i"),
        ("x", "[1].r.secondaryFiles[1].listing[1]", "j"),
        ("z", "", "i"),
    ]
    assert found[0].value is main


@pytest.mark.parametrize(
    ("content", "rule", "place"),
    [
        (b"a: [", "yaml/syntax", (1, 5)),
        (b"- a\n", "inputs/not-a-mapping", (1, 1)),
        (b"text", "inputs/not-a-mapping", (1, 1)),
        (b"a: 1\na: 2\n", "yaml/duplicate-key", (2, 1)),
        (b'{"a": 1, "a": 2}', "yaml/duplicate-key", (1, 10)),
        (b"a: &x [*x]\n", "yaml/alias", (1, 8)),
        (b"a: 1e999\n", "yaml/number", (1, 4)),
        (b"a: 1" + b"0" * 400, "yaml/number", (1, 4)),
        (b"a: .inf\n", "yaml/number", (1, 4)),
        (b"a: !!python/name:os.system x\n", "yaml/tag", (1, 4)),
        (b"a: \xff", "yaml/encoding", (1, 4)),
        (b'a: "\\0"', "yaml/nul", (1, 4)),
    ],
)
def test_read_when_it_cannot_be_then_the_place_is_told(content, rule, place):
    with pytest.raises(InvalidInputs) as caught:
        read_inputs(content, "in.yml")
    (finding,) = caught.value.findings
    assert (finding.rule, finding.file, finding.line, finding.column) == (rule, "in.yml", *place)


def test_read_when_aliases_unfold_to_a_million_then_refused_at_once():
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]" for n in range(9)]
    with pytest.raises(InvalidInputs, match="aliases"):
        read_inputs("\n".join(lines).encode(), "in.yml")


def test_read_when_yaml_then_values_have_the_types_of_its_core_schema():
    text = b"a: 1\nb: 1.5\nc: yes\nd: true\ne: ~\nf: '1'\ng: 0x10\nh: 0o17\ni: 2001-01-01\nj: 1e3\nk: &k {p: 1}\nl: {<<: *k, q: 2}\nm: 1:30\nn: 42000000000000000000000\n"
    assert read_inputs(text, "in.yml") == {
        "a": 1,
        "b": 1.5,
        "c": "yes",
        "d": True,
        "e": None,
        "f": "1",
        "g": 16,
        "h": 15,
        "i": "2001-01-01",
        "j": 1000.0,
        "k": {"p": 1},
        "l": {"q": 2, "p": 1},
        "m": "1:30",
        "n": 4.2e22,
    }


@pytest.mark.parametrize("content", [b"", b"\n", b"# nothing\n", b"{}", b"---\n"])
def test_read_when_there_is_nothing_then_no_inputs(content):
    if content.startswith(b"#"):
        with pytest.raises(InvalidInputs):
            read_inputs(content, "in.yml")
    else:
        assert read_inputs(content, "in.yml") == {}


def test_read_when_large_then_json_is_taken_and_yaml_refused():
    large = {"a": ["x" * 100] * 12_000}
    content = json.dumps(large).encode()
    assert read_inputs(content, "in.json") == large
    with pytest.raises(TooLarge):
        read_inputs(b"b: 1\n" + b"#" * 1_100_000, "in.yml")
    with pytest.raises(TooLarge):
        read_inputs(content, "in.json", max_bytes=1000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abc"), JSON))
def test_read_when_json_was_written_then_it_comes_back(value):
    assert read_inputs(json.dumps(value).encode(), "in.json") == value


@given(
    st.binary(max_size=60) | st.text(st.sampled_from("a: -\n{}[]&*!|>'\"\\%#?,0.<@`\t~"), max_size=40).map(str.encode)
)
def test_read_when_any_bytes_then_inputs_or_a_refusal(content):
    try:
        inputs = read_inputs(content, "in.yml")
    except (InvalidInputs, TooLarge):
        return
    json.dumps(inputs, allow_nan=False)
    check_inputs(taking(a="int"), inputs)


TYPES = st.sampled_from(["int", "File?", ARRAY, ENUM, RECORD, ["null", RECORD]])
PORTS = st.builds(
    Port,
    id=st.text(max_size=4),
    type=TYPES,
    label=st.none() | st.text(max_size=4),
    required=st.booleans(),
    default=JSON,
    sources=st.lists(st.text(max_size=3), max_size=2).map(tuple),
)
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=2).map(tuple)
STEPS = st.recursive(
    st.builds(
        StepDefinition, path=st.text(max_size=4), kind=st.sampled_from(StepKind), run=st.text(max_size=4), scatter=TEXTS
    ),
    lambda inner: st.builds(
        StepDefinition,
        path=st.text(max_size=4),
        kind=st.just(StepKind.WORKFLOW),
        run=st.text(max_size=4),
        inputs=st.lists(st.builds(StepInput, st.text(max_size=3), TEXTS), max_size=2).map(tuple),
        outputs=TEXTS,
        steps=st.lists(inner, max_size=2).map(tuple),
    ),
    max_leaves=4,
)


@given(
    st.builds(
        WorkflowStructure,
        cwl_version=st.sampled_from(["v1.0", "v1.2"]),
        cwl_class=st.just("Workflow"),
        inputs=st.lists(PORTS, max_size=2).map(tuple),
        outputs=st.lists(PORTS, max_size=2).map(tuple),
        steps=st.lists(STEPS, max_size=2).map(tuple),
        doc=st.none() | st.text(max_size=4),
    )
)
def test_structure_when_written_as_json_then_it_comes_back(structure):
    assert steps.from_json(json.loads(json.dumps(steps.to_json(structure)))) == structure
