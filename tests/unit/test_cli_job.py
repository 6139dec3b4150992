"""Jobs made ready to be sent: files, folders, secondary files, parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.cli.job import make_job, read_job
from stemma.cli.one_go import split_arguments
from stemma.cli.parameters import parse_parameters
from stemma.cli.secondary import secondary_patterns
from stemma.errors import InvalidInputs, InvalidRequest

PORTS = [
    {"id": "text", "type": "File"},
    {"id": "many", "type": ["null", {"type": "array", "items": "int"}]},
    {"id": "year", "type": "int?"},
    {"id": "share", "type": "double"},
    {"id": "loud", "type": "boolean"},
    {"id": "label", "type": ["null", "string"]},
    {"id": "folder", "type": "Directory"},
    {"id": "mixed", "type": ["int", "string"]},
]


def job(inputs, base, patterns=None):
    return make_job([(inputs, base)], patterns)


def test_file_when_named_twice_then_is_sent_once(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    made = job({"x": {"class": "File", "location": "a.txt"}, "y": [{"class": "File", "path": "./a.txt"}]}, tmp_path)
    assert len(made.files) == 1
    assert made.inputs["x"] == {"class": "File", "location": "a.txt", "basename": "a.txt"}
    assert made.inputs["y"] == [made.inputs["x"]]


def test_files_of_one_name_when_sent_then_have_two(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(folder)
    made = job({"x": [{"class": "File", "path": f"{folder}/a.txt"} for folder in ("one", "two")]}, tmp_path)
    assert len({file.name for file in made.files}) == 2
    assert [value["basename"] for value in made.inputs["x"]] == ["a.txt", "a.txt"]
    assert [file.content.read_text() for file in made.files] == ["one", "two"]


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_file_of_any_name_when_sent_then_goes_by_a_plain_name_and_keeps_its_own(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("job")
    if name in {".", ".."}:
        return
    (folder / name).write_text("x")
    made = job({"x": {"class": "File", "path": name}}, folder)
    assert made.inputs["x"]["basename"] == name
    sent = made.files[0].name
    assert sent == made.inputs["x"]["location"]
    assert sent.isascii()
    assert not set(sent) & set("\"'\\/%#? \r\n")


def test_location_when_encoded_then_names_the_file_it_means(tmp_path):
    (tmp_path / "two words.txt").write_text("x")
    made = job({"x": {"class": "File", "location": "two%20words.txt"}}, tmp_path)
    assert made.inputs["x"]["basename"] == "two words.txt"
    assert job({"x": {"class": "File", "location": (tmp_path / "two words.txt").as_uri()}}, tmp_path).files


def test_file_when_missing_or_a_folder_then_each_is_a_finding(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    inputs = {
        "a": {"class": "File", "path": "none.txt"},
        "b": {"class": "File", "path": "folder"},
        "c": {"class": "Directory", "path": "file"},
    }
    with pytest.raises(InvalidInputs) as caught:
        job(inputs, tmp_path)
    assert [finding.message.partition(":")[0] for finding in caught.value.findings] == ["a", "b", "c"]
    assert "none.txt" in caught.value.findings[0].message


def test_folder_when_named_then_its_files_are_listed_by_name(tmp_path):
    (tmp_path / "d" / "inner").mkdir(parents=True)
    (tmp_path / "d" / "b").write_text("b")
    (tmp_path / "d" / "inner" / "a").write_text("a")
    made = job({"x": {"class": "Directory", "location": "d"}}, tmp_path)
    assert made.inputs["x"] == {
        "class": "Directory",
        "basename": "d",
        "listing": [
            {"class": "File", "basename": "b", "location": "b"},
            {
                "class": "Directory",
                "basename": "inner",
                "listing": [{"class": "File", "basename": "a", "location": "a"}],
            },
        ],
    }


def test_folder_when_a_link_in_it_leads_back_then_is_refused(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "loop").symlink_to(tmp_path / "d")
    with pytest.raises(InvalidInputs, match="link"):
        job({"x": {"class": "Directory", "path": "d"}}, tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        {"class": "File", "location": "stemma:file:5"},
        {"class": "File", "location": "https://example.org/a.txt"},
        {"class": "File", "contents": "text", "basename": "a"},
        {"class": "File", "valueFromEntity": "{{5}}"},
    ],
)
def test_file_when_it_is_not_of_this_machine_then_is_left_as_it_is(tmp_path, value):
    made = job({"x": value}, tmp_path)
    assert made.inputs == {"x": value}
    assert made.files == []


def test_secondary_files_when_given_or_beside_then_are_sent_along(tmp_path):
    for name in ("a.bam", "a.bam.bai", "a.dict", "b"):
        (tmp_path / name).write_text(name)
    file = {"class": "File", "path": "a.bam"}
    found = job({"x": file}, tmp_path, {"x": [".bai", "^.dict", ".none"]}).inputs["x"]
    assert [one["basename"] for one in found["secondaryFiles"]] == ["a.bam.bai", "a.dict"]
    given = {**file, "secondaryFiles": [{"class": "File", "path": "b"}]}
    found = job({"x": given}, tmp_path, {"x": [".bai"]}).inputs["x"]
    assert [one["basename"] for one in found["secondaryFiles"]] == ["b"]


def test_parts_of_a_job_when_they_stand_in_two_folders_then_each_is_seen_from_its_own(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text(folder)
    file = {"class": "File", "path": "a"}
    made = make_job([({"x": file}, tmp_path / "one"), ({"y": file}, tmp_path / "two")])
    assert [one.content.read_text() for one in made.files] == ["one", "two"]


def test_job_file_when_it_is_no_yaml_then_says_where(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text("a: 1\nb: [\n")
    with pytest.raises(InvalidInputs) as caught:
        read_job(path)
    assert caught.value.findings[0].line is not None
    with pytest.raises(InvalidInputs, match="No such file"):
        read_job(tmp_path / "none.yml")


def test_parameters_when_given_then_have_the_types_of_the_inputs():
    given_ = ["--text", "a.txt", "--many", "1", "--many=2", "--year=2014", "--share", "0.5", "--loud", "--label", "07"]
    assert parse_parameters([*given_, "--folder", "d", "--mixed", "5"], PORTS) == {
        "text": {"class": "File", "path": "a.txt"},
        "many": [1, 2],
        "year": 2014,
        "share": 0.5,
        "loud": True,
        "label": "07",
        "folder": {"class": "Directory", "path": "d"},
        "mixed": 5,
    }


def test_flag_when_its_value_follows_then_that_counts():
    assert parse_parameters(["--loud", "false", "--label", "x"], PORTS) == {"loud": False, "label": "x"}
    assert parse_parameters(["--loud", "--label", "x"], PORTS) == {"loud": True, "label": "x"}


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (["--yaer", "1"], "--year"),
        (["stray"], "stray"),
        (["--year"], "takes a value"),
        (["--year", "soon"], "int"),
        (["--loud=perhaps"], "boolean"),
    ],
)
def test_parameters_when_wrong_then_the_message_says_what_is_right(given_, words):
    with pytest.raises(InvalidRequest, match=words):
        parse_parameters(given_, PORTS)


def test_arguments_when_the_first_is_no_option_then_it_is_the_job_file():
    job_file, rest = split_arguments(["job.yml", "--x", "1"])
    assert (str(job_file), rest) == ("job.yml", ["--x", "1"])
    assert split_arguments(["--x", "job.yml"]) == (None, ["--x", "job.yml"])


def test_patterns_when_written_in_any_form_then_are_found_and_expressions_left():
    document = b"""
cwlVersion: v1.2
$graph:
- id: other
  inputs: {x: {type: File, secondaryFiles: .no}}
- id: main
  inputs:
    - {id: a, type: File, secondaryFiles: .idx}
    - {id: b, type: File, secondaryFiles: [.one?, {pattern: ^.two, required: false}, $(self.basename).x]}
    - {id: c, type: int}
"""
    assert secondary_patterns(document, None) == {"a": [".idx"], "b": [".one", "^.two"]}
    assert secondary_patterns(document, "other") == {"x": [".no"]}
    assert secondary_patterns(b"secondaryFiles: [", None) == {}
