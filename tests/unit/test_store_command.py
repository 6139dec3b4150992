"""``stemma store``: what it prints, and what it refuses."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import Session

from conftest import opened_installation
from stemma.cli.main import main
from stemma.cli.settings import settings
from stemma.lifecycle.installation import Installation
from stemma.records import Content
from stemma.storages.archive import Archive
from support.archives import archive_all
from support.rows import add_run, add_workflow
from support.stored import add_file, add_late, bring, end_run, new_run


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """The one that commands in this process work with."""
    with opened_installation("sqlite", tmp_path) as opened:
        monkeypatch.setenv("STEMMA_HOME", str(tmp_path))
        monkeypatch.setenv("STEMMA_DATABASE_URL", opened.settings.effective_database_url)
        monkeypatch.setenv("STEMMA_STORE_BYTES", "1048576")
        monkeypatch.chdir(tmp_path)
        settings.cache_clear()
        yield opened
    settings.cache_clear()


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, object]:
    capsys.readouterr()
    assert main(["store", *arguments, "--json"]) == code
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def output_of(installation: Installation, body: bytes) -> tuple[int, Content]:
    content = installation.store.put_bytes(body)
    spec = installation.store.put_bytes(b"cwl")

    def write(session: Session) -> int:
        run = add_run(session, add_workflow(session, spec=spec))
        add_file(session, run, content, output=True)
        return run

    return installation.database.write(write), content


def copy_of(installation: Installation, address: str, body: bytes) -> Content:
    def write(session: Session) -> Content:
        run = new_run(session)
        content = bring(installation, session, add_late(installation, session, run, address), body)
        end_run(session, run)
        return content

    return installation.database.write(write)


def test_show_when_asked_then_says_what_lies_there_and_what_would_go(installation, capsys):
    copy_of(installation, "https://data.example.org/a?X-Amz-Signature=secret", b"copied")
    installation.store.put_bytes(b"nobody's")
    found = told(capsys, "show")
    assert found["kinds"]["replicas"] == {"files": 1, "bytes": 6}
    assert found["kinds"]["unused"] == {"files": 1, "bytes": 8}
    assert (found["limit_bytes"], found["free_bytes"]) == (1048576, 1048576 - 14)
    assert (found["misses"], found["hits"], found["moved_bytes"]) == (1, 0, 6)
    [first] = found["dropped_first"]
    assert first["source"] == "https://data.example.org/a"  # what gives access to it is nobody's to read
    assert main(["store", "show"]) == 0
    printed = capsys.readouterr().out
    assert "replicas" in printed
    assert "secret" not in printed


def test_verify_when_an_output_is_damaged_then_names_the_run_and_ends_with_1(installation, capsys):
    run, content = output_of(installation, b"a result")
    path = installation.store.path(content.sha256)
    path.chmod(0o644)
    path.write_bytes(b"a reSult")
    found = told(capsys, "verify", code=1)
    [fault] = [fault for fault in found["faults"] if fault["verdict"] == "damaged"]
    assert (fault["sha256"], fault["lost"]) == (content.sha256, True)
    assert fault["owners"] == [{"kind": "outputs", "run": run, "group": "group1", "what": "data.txt"}]
    assert Path(fault["moved_to"]).read_bytes() == b"a reSult"
    assert main(["store", "verify"]) == 1
    assert f"missing  {content.sha256}\n    output of execution {run} of group1: 'data.txt'" in capsys.readouterr().out


def test_verify_when_the_archive_is_damaged_then_says_so_where_its_bytes_are_asked_for(
    installation, capsys, tmp_path_factory, monkeypatch
):
    folder = tmp_path_factory.mktemp("archive")
    monkeypatch.setenv("STEMMA_ARCHIVE", f"file://{folder}")
    settings.cache_clear()
    run, content = output_of(installation, b"a result")
    archiving = replace(installation, archive=Archive(settings()))
    installation.database.write(lambda session: end_run(session, run))
    archive_all(archiving, 1)
    place = folder / "sha256" / content.sha256[:2] / content.sha256[2:]
    place.chmod(0o644)
    place.write_bytes(b"a reSult")
    assert told(capsys, "verify")["archive"] is None
    installation.store.remove(content.sha256)
    read = told(capsys, "verify", "--archive-bytes", code=1)["archive"]
    assert (read["files"], read["bytes"]) == (1, 8)
    [fault] = read["faults"]
    assert fault["owners"] == [{"kind": "outputs", "run": run, "group": "group1", "what": "data.txt"}]
    assert (fault["sha256"], fault["verdict"], fault["lost"]) == (content.sha256, "damaged", True)
    installation.store.put_bytes(b"a result")
    assert main(["store", "verify", "--archive-bytes"]) == 0
    assert f"damaged  {content.sha256}  in the archive, copied anew" in capsys.readouterr().out


def test_settings_when_two_do_not_fit_together_then_says_so(installation, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("STEMMA_ARCHIVE", f"file://{tmp_path / 'archive'}")
    settings.cache_clear()
    assert main(["store", "show"]) not in {0, 1}
    assert "must not lie in one another" in capsys.readouterr().err


def test_verify_when_there_is_no_archive_then_its_bytes_cannot_be_asked_for(installation, capsys):
    assert main(["store", "verify", "--archive-bytes"]) not in {0, 1}
    assert "STEMMA_ARCHIVE" in capsys.readouterr().err


def test_evict_when_asked_for_bytes_then_drops_as_many_copies_as_that_takes(installation, capsys):
    copies = [copy_of(installation, f"s3://b/{name.decode()}", name * 600) for name in (b"a", b"b", b"c")]
    assert told(capsys, "evict", "--bytes", "1k") == {
        "copies": 2, "archived": 0, "freed_bytes": 1200, "archive_error": None,
    }  # fmt: skip
    assert [installation.store.has(copy.sha256) for copy in copies] == [False, False, True]
    assert told(capsys, "evict", "--all")["freed_bytes"] == 600


def test_gc_when_dry_then_says_what_it_would_do_and_does_not(installation, capsys):
    unused = installation.store.put_bytes(b"nobody's")
    assert told(capsys, "gc") == {
        "dry_run": False, "files": 0, "freed_bytes": 0, "leftover_bytes": 0,
        "archived_files": 0, "archived_bytes": 0, "archive_error": None,
    }  # fmt: skip
    assert told(capsys, "gc", "--older-than", "0s", "--dry-run")["freed_bytes"] == 8
    assert installation.store.has(unused.sha256)
    assert told(capsys, "gc", "--older-than", "0s")["freed_bytes"] == 8
    assert not installation.store.has(unused.sha256)


@pytest.mark.parametrize(
    "arguments",
    [
        ("evict",), ("evict", "--all", "--bytes", "1"), ("evict", "--bytes", "-1"), ("evict", "--bytes", "many"),
        ("gc", "--older-than", "yesterday"), ("gc", "--older-than", "-1d"),
    ],
)  # fmt: skip
def test_store_when_asked_for_nothing_sensible_then_refuses(installation, capsys, arguments):
    assert main(["store", *arguments]) not in {0, 1}
    assert capsys.readouterr().out == ""
