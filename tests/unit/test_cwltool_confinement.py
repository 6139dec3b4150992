"""What a run may read: nothing but its inputs, its document, and what its own steps made."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemma.engines.cwltool.confinement import BundleFetcher, Confinement, OutsideTheRun
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.protocol import JobState
from stemma.errors import InvalidRequest
from support.cwltool_bench import SHELL, Bench, bench_in

SECRET = "the words that nobody may read"
EXPRESSION = """
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {}
outputs: {made: File}
expression: '${ return {made: {"class": "File", "location": "LOCATION"}}; }'
"""
WORKFLOW = """
cwlVersion: v1.2
class: Workflow
requirements: {StepInputExpressionRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {}
steps:
  read:
    run: tool.cwl
    in:
      script: {default: "cat $0 > made.txt"}
      file: {valueFrom: '$({"class": "File", "location": "LOCATION", "size": 3, "basename": "x"})'}
    out: [made]
outputs: {made: {type: File, outputSource: read/made}}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path / "home") as made:
        yield made


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


def _is_kept(bench: Bench, reference: str) -> bool:
    """Whether the secret is nowhere in what the run left."""
    files = [path for path in (bench.runs / reference).rglob("*") if path.is_file() and not path.is_symlink()]
    return not any(SECRET.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    "script",
    [
        "ln -s SECRET made.txt",
        "ln -s $(dirname SECRET) d; ln -s d/secret.txt made.txt",
        'echo \'{"made": {"class": "File", "path": "SECRET"}}\' > cwl.output.json',
        'echo \'{"made": {"class": "File", "location": "file://SECRET"}}\' > cwl.output.json',
    ],
)
def test_output_when_it_leads_outside_then_the_step_fails_and_nothing_is_read(
    bench: Bench, secret: Path, script: str
) -> None:
    seen = bench.run(bench.shell(), {"script": script.replace("SECRET", str(secret))})
    assert seen.report.state is JobState.FAILED
    assert "outside the run" in seen.report.reason or "designated output directory" in seen.report.reason
    assert _is_kept(bench, seen.reference)


def test_folder_output_when_a_link_in_it_leads_outside_then_the_step_fails(bench: Bench, secret: Path) -> None:
    document = SHELL.replace("type: File, outputBinding: {glob: made.txt}", "type: Directory, outputBinding: {glob: d}")
    seen = bench.run(bench.shell(document), {"script": f"mkdir -p d/e; ln -s {secret} d/e/x"})
    assert "which lies outside the run" in seen.report.reason
    loop = bench.run(bench.shell(document), {"script": "mkdir d; ln -s . d/d"})
    assert "it has no end" in loop.report.reason


def test_output_when_a_glob_climbs_out_then_the_step_fails(bench: Bench) -> None:
    document = SHELL.replace("glob: made.txt", "glob: '../../job.json'")
    seen = bench.run(bench.shell(document), {"script": "true"})
    assert "leads out of the step's folder" in seen.report.reason


@pytest.mark.parametrize("document", [EXPRESSION, WORKFLOW])
def test_expression_when_it_names_a_file_outside_then_the_step_fails(bench: Bench, secret: Path, document: str) -> None:
    text = document.replace("LOCATION", secret.as_uri())
    seen = bench.run(bench.revision({"main.cwl": text, "tool.cwl": SHELL}), {})
    assert "outside the run" in seen.report.reason
    assert _is_kept(bench, seen.reference)


def test_default_when_it_names_a_file_outside_then_the_step_fails(bench: Bench, secret: Path) -> None:
    default = f'{{type: File, default: {{class: File, location: "{secret.as_uri()}"}}, inputBinding: {{position: 2}}}}'
    document = SHELL.replace("File?\n", f"{default}\n", 1)
    assert default in document
    seen = bench.run(bench.shell(document), {"script": "cat $0 > made.txt"})
    assert "outside the run" in seen.report.reason


@pytest.mark.parametrize(
    "part",
    [
        "doc: {$include: 'URL'}",
        "hints: [{$import: 'URL'}]",
    ],
)
@pytest.mark.parametrize("scheme", ["file", "http"])
def test_document_when_it_refers_to_elsewhere_then_the_run_fails_and_nothing_is_asked(
    bench: Bench, secret: Path, part: str, scheme: str
) -> None:
    with _listener() as (port, asked):
        url = secret.as_uri() if scheme == "file" else f"http://127.0.0.1:{port}/secret"
        seen = bench.run(bench.shell(f"{SHELL}\n{part.replace('URL', url)}"), {"script": "true"})
    assert "is not a file of the registered document" in seen.report.reason
    assert not asked.is_set()


def test_schemas_when_they_lie_elsewhere_then_they_are_left_out_and_nothing_is_asked(
    bench: Bench, secret: Path
) -> None:
    with _listener() as (port, asked):
        schemas = json.dumps([f"http://127.0.0.1:{port}/x.owl", secret.as_uri()])
        seen = bench.run(bench.shell(f"{SHELL}\n$schemas: {schemas}"), {"script": "echo > made.txt"})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert not asked.is_set()
    with bench.engine.log(seen.reference, None, "stderr") as log:
        assert b"is not a file of the registered document" in log.read()


def test_run_when_a_step_runs_a_document_elsewhere_then_the_run_fails(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "other.cwl").write_text(SHELL)
    document = WORKFLOW.replace("tool.cwl", (tmp_path / "other.cwl").as_uri())
    seen = bench.run(bench.revision({"main.cwl": document}), {})
    assert seen.report.state is JobState.FAILED
    assert "other.cwl" in seen.report.reason


def test_lay_out_when_a_path_of_the_bundle_climbs_out_then_refused(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match="leads out of it"):
        bench.submit(bench.job(bench.revision({"main.cwl": SHELL, "../../evil": "x"}), {"script": "true"}))
    assert not list(bench.runs.rglob("evil"))


def test_environment_when_the_starter_has_secrets_then_tools_do_not_see_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMMA_DATABASE_URL", SECRET)
    seen = bench.run(bench.shell(), {"script": "env > made.txt; cat /proc/$PPID/environ >> made.txt"})
    made = Path(seen.report.outputs["made"]["location"]).read_bytes()
    assert b"TMPDIR=" in made
    assert SECRET.encode() not in made


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    folder = AttemptFolder(tmp_path / "attempt")
    for part in (folder.bundle, folder.inputs, folder.tmp, folder.out):
        part.mkdir(parents=True)
    return folder


def test_real_path_when_a_stored_file_is_allowed_then_that_one_alone(
    folder: AttemptFolder, tmp_path: Path, secret: Path
) -> None:
    stored = tmp_path / "stored"
    stored.write_text("x")
    confinement = Confinement(folder)
    confinement.allow([str(stored)])
    (folder.inputs / "name.txt").symlink_to(stored)
    assert confinement.real_path((folder.inputs / "name.txt").as_uri()) == str(stored)
    for location in (secret.as_uri(), str(secret), "https://example.org/x", "relative", str(tmp_path), "ftp://x/y"):
        with pytest.raises(OutsideTheRun):
            confinement.real_path(location)


@pytest.mark.parametrize("climb", ["../job.json", "x/../../job.json", "link/../../secret.txt", "link"])
def test_real_path_when_it_climbs_out_of_the_folder_then_refused(
    folder: AttemptFolder, secret: Path, climb: str
) -> None:
    (folder.tmp / "x").mkdir()
    (folder.tmp / "link").symlink_to(secret)
    with pytest.raises(OutsideTheRun):
        Confinement(folder).real_path(f"{folder.tmp}/{climb}")


def test_real_path_when_a_link_stays_inside_then_fine(folder: AttemptFolder) -> None:
    (folder.tmp / "x").mkdir()
    (folder.tmp / "link").symlink_to("x")
    (folder.tmp / "x" / "file").write_text("x")
    assert Confinement(folder).real_path(f"{folder.tmp}/link/file") == os.path.realpath(folder.tmp / "x" / "file")


def test_fetcher_when_a_link_in_the_bundle_leads_outside_then_refused(folder: AttemptFolder, secret: Path) -> None:
    (folder.bundle / "main.cwl").write_text("x")
    (folder.bundle / "link.cwl").symlink_to(secret)
    fetcher = BundleFetcher(str(folder.bundle), {})
    assert fetcher.fetch_text((folder.bundle / "main.cwl").as_uri()) == "x"
    assert not fetcher.check_exists((folder.bundle / "link.cwl").as_uri())
    with pytest.raises(Exception, match="not a file of the registered document"):
        fetcher.fetch_text((folder.bundle / "link.cwl").as_uri())


class _listener:  # noqa: N801 - used as a function
    """A port of this machine that says whether anybody came."""

    def __enter__(self) -> tuple[int, threading.Event]:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self._socket.getsockname()[1], self._asked

    def _listen(self) -> None:
        self._socket.settimeout(0.05)
        self._is_over = False
        while not self._is_over:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            connection.close()
            self._asked.set()

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        self._socket.close()
