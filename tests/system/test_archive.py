"""A whole service with an archive, in a folder and on a real S3 server: what was let go is downloaded and used again."""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from stemma.database.queries import archive as queries
from stemma.database.queries import archiving
from stemma.lifecycle.archive import upkeep
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.storekeeping.removal import collect, evict
from support.cutting import Cutter, cutting
from support.data_server import data_server
from support.databases import KINDS
from support.storages import PASSWORD, USER, versitygw_serving

SPEC = """\
cwlVersion: v1.2
class: Workflow
inputs: {file: File}
outputs: {doubled: {type: File, outputSource: double/out}}
steps:
  double:
    run: {class: CommandLineTool, baseCommand: [cat], stdout: doubled.bin,
          inputs: {file: {type: File, inputBinding: {position: 1}}, again: {type: File, inputBinding: {position: 2}}},
          outputs: {out: {type: stdout}}}
    in: {file: file, again: file}
    out: [out]
"""
SENT = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(80_000))
PLACES = ("folder", "versitygw")


@dataclass
class Archived:
    """A service, and its archive."""

    served: Served
    folder: Path
    """Where what it keeps lies on this machine."""
    cutter: Cutter | None

    @property
    def installation(self) -> Installation:
        return self.served.installation

    def until_all_lies_there(self) -> None:
        archive = self.installation.archive
        assert archive is not None
        deadline = time.monotonic() + 60
        while True:
            with self.installation.database.reading() as session:
                found = queries.amount(session, archive.name)
            if found.files and not found.waiting and self._is_noted(archive.name):
                return
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def _is_noted(self, archive: str) -> bool:
        with self.installation.database.reading() as session:
            return not archiving.outputs_after(session, archive, 0) and not archiving.uploads_after(session, archive, 0)

    def place_of(self, digest: str) -> Path:
        return self.folder / "sha256" / digest[:2] / digest[2:]


@pytest.fixture(scope="module", params=[(kind, place) for kind in KINDS for place in PLACES], ids="-".join)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    kind, place = request.param
    if kind == "mysql" and place != "folder":
        pytest.skip("each server and each database is tried once")
    folder = tmp_path_factory.mktemp(f"archive-{kind}-{place}")
    lying, cutter = folder / "archive", None
    with ExitStack() as stack:
        if place == "folder":
            lying.mkdir()
            values: dict[str, Any] = {"archive": f"file://{lying}"}
        else:
            (lying / "bucket").mkdir(parents=True)
            cutter = stack.enter_context(cutting(stack.enter_context(versitygw_serving(lying))))
            lying = lying / "bucket" / "kept" / "here"
            values = {
                "archive": "s3://bucket/kept/here",
                "archive_endpoint": f"http://127.0.0.1:{cutter.port}",
                "archive_access_key_id": USER,
                "archive_secret_access_key": PASSWORD,
            }
        home = folder / "home"
        home.mkdir()
        installation = stack.enter_context(opened_installation(kind, home, lease_seconds=1.5, **values))
        stack.enter_context(working(installation))
        yield Archived(stack.enter_context(served_installation(installation)), lying, cutter)


def registered(user: httpx.Client) -> int:
    form, files = {"name": Served.name(), "version": "1"}, {"spec_file": ("main.cwl", SPEC.encode())}
    entry: int = user.post("/workflow_registry/register", data=form, files=files).json()["data"]["registry_id"]
    return entry


def started(user: httpx.Client, entry: int, location: str) -> httpx.Response:
    inputs = {"file": {"class": "File", "location": location}}
    return user.post(f"/workflow_execution/execute/{entry}", json={"inputs": inputs})


def ended(user: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found = Served.run_to_end(user, answer.json()["data"]["execution_id"])
    assert found["status"] == "finished", found
    return found


def run_with_upload(service: Archived, user: httpx.Client, content: bytes) -> dict[str, Any]:
    """A run that has ended; what went in and came out lies in the archive, and not in the store."""
    inputs = json.dumps({"file": {"class": "File", "location": "sent.bin"}})
    files = [("files", ("sent.bin", content))]
    entry = registered(user)
    run = ended(user, user.post(f"/workflow_execution/execute/{entry}", data={"inputs": inputs}, files=files))
    service.until_all_lies_there()
    let_go(service, run)
    return {**run, "entry": entry}


def let_go(service: Archived, run: dict[str, Any]) -> None:
    deadline = time.monotonic() + 60
    store = service.installation.store
    while any(store.has(digest_of(run, *which)) for which in (("inputs", "file"), ("outputs", "doubled"))):
        evict(service.installation)
        assert time.monotonic() < deadline
        time.sleep(0.1)


def digest_of(run: dict[str, Any], side: str, port: str) -> str:
    digest: str = run[side][port]["checksum"].removeprefix("sha256:")
    return digest


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "IN_USE_SECONDS", 0.0)


def test_download_when_it_was_let_go_then_comes_from_the_archive(service: Archived) -> None:
    sent = SENT
    with service.served.client_as("user_1") as user:
        run = run_with_upload(service, user, sent)
        number = run["inputs"]["file"]["id"]
        whole = user.get(f"/workflow_execution/files/{number}")
        digest = hashlib.sha256(sent).hexdigest()
        assert whole.content == sent
        assert whole.headers["ETag"] == f'"{digest}"'
        assert whole.headers["Content-Length"] == str(len(sent))
        assert whole.headers["Accept-Ranges"] == "bytes"
        assert 'filename="sent.bin"' in whole.headers["Content-Disposition"]
        assert (
            user.get(f"/workflow_execution/files/{number}", headers={"If-None-Match": f'"{digest}"'}).status_code == 304
        )
        for asked, expected in (
            ("bytes=5-9", sent[5:10]),
            (f"bytes={len(sent) - 1000}-", sent[-1000:]),
            ("bytes=-7", sent[-7:]),
            (f"bytes=10-{2 * len(sent)}", sent[10:]),
            (f"bytes=-{2 * len(sent)}", sent),
        ):
            part = user.get(f"/workflow_execution/files/{number}", headers={"Range": asked})
            assert (part.status_code, part.content) == (206, expected), asked
            first = len(sent) - len(expected) if not asked.startswith("bytes=5-") else 5
            assert part.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{len(sent)}"
        behind = user.get(f"/workflow_execution/files/{number}", headers={"Range": f"bytes={len(sent)}-"})
        assert (behind.status_code, behind.headers["Content-Range"]) == (416, f"bytes */{len(sent)}")
        for odd in ("bytes=9-5", "lines=1-2", "bytes=0-1,5-9"):
            found = user.get(f"/workflow_execution/files/{number}", headers={"Range": odd})
            assert (found.status_code, found.content) == (200, sent), odd
        stale = user.get(f"/workflow_execution/files/{number}", headers={"Range": "bytes=5-9", "If-Range": '"other"'})
        assert (stale.status_code, len(stale.content)) == (200, len(sent))
        for side, name, content in (("inputs", "file/sent.bin", sent), ("outputs", "doubled/doubled.bin", sent * 2)):
            zipped = user.get(f"/workflow_execution/{side}/{run['execution_id']}")
            with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
                assert archive.read(name) == content
        assert not service.installation.store.has(digest)
    with service.served.client_as("user_4") as stranger:
        assert stranger.get(f"/workflow_execution/files/{number}").status_code == 404


def test_run_when_its_input_was_let_go_then_it_is_brought_back_just_in_time(service: Archived) -> None:
    content = Served.name("once").encode() * 50_000
    with service.served.client_as("user_1") as user:
        first = run_with_upload(service, user, content)
        locations = (
            f"stemma:file:{first['outputs']['doubled']['id']}",
            f"stemma:sha256:{digest_of(first, 'inputs', 'file')}",
        )
        expected = content * 4, content * 2
        for location, result in zip(locations, expected, strict=True):
            run = ended(user, started(user, first["entry"], location))
            assert digest_of(run, "outputs", "doubled") == hashlib.sha256(result).hexdigest()
            assert (run["replication"]["files"]["total"], run["replication"]["files"]["here"]) == (1, 1)
            record = user.get(f"/provenance/json/{run['execution_id']}").text
            assert "archive:" in record
            # It is an input like any other: with its digest, to be downloaded, also when it was let go again.
            service.until_all_lies_there()
            let_go(service, run)
            shown = user.get(f"/workflow_execution/{run['execution_id']}").json()["data"]["inputs"]["file"]
            assert shown["checksum"] in {
                f"sha256:{hashlib.sha256(part).hexdigest()}" for part in (content, content * 2)
            }
            assert user.get(f"/workflow_execution/files/{shown['id']}").status_code == 200
        again = ended(user, started(user, first["entry"], locations[1]))  # the copy of before, which was dropped
        assert digest_of(again, "outputs", "doubled") == hashlib.sha256(content * 2).hexdigest()


def test_digest_of_others_when_it_lies_in_the_archive_then_is_as_if_it_did_not(service: Archived) -> None:
    content = Served.name("secret").encode()
    with service.served.client_as("user_1") as user, service.served.client_as("user_4") as stranger:
        run = run_with_upload(service, user, content)
        entry = registered(stranger)
        theirs = started(stranger, entry, f"stemma:sha256:{digest_of(run, 'inputs', 'file')}")
        nobodys = started(stranger, entry, f"stemma:sha256:{hashlib.sha256(b'nobody has this').hexdigest()}")
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.json()["message"].replace(digest_of(run, "inputs", "file"), "") == nobodys.json()[
            "message"
        ].replace(hashlib.sha256(b"nobody has this").hexdigest(), "")
        location = f"archive:{digest_of(run, 'inputs', 'file')}"
        assert started(stranger, entry, location).status_code == 422
        assert started(user, registered(user), location).status_code == 422


def test_deleted_run_when_another_has_its_file_from_the_archive_then_it_stays(service: Archived) -> None:
    content = Served.name("kept").encode()
    with service.served.client_as("user_1") as user:
        first = run_with_upload(service, user, content)
        run = ended(user, started(user, registered(user), f"stemma:file:{first['inputs']['file']['id']}"))
        service.until_all_lies_there()
        let_go(service, run)
        gone = user.delete("/workflow_execution/delete", params={"registry_id": first["entry"]})
        assert gone.status_code == 200, gone.text
        collect(service.installation, age=timedelta(0))
        assert user.get(f"/workflow_execution/files/{run['inputs']['file']['id']}").content == content


def test_download_when_the_archive_has_other_bytes_then_breaks_off(service: Archived) -> None:
    content = Served.name("large").encode() * 200_000
    with service.served.client_as("user_1") as user:
        run = run_with_upload(service, user, content)
        place = service.place_of(digest_of(run, "inputs", "file"))
        place.chmod(0o644)
        with place.open("r+b") as file:
            file.seek(len(content) // 2)
            file.write(b"!")
        with pytest.raises(httpx.RemoteProtocolError):
            user.get(f"/workflow_execution/files/{run['inputs']['file']['id']}")
        with pytest.raises(httpx.RemoteProtocolError):
            user.get(f"/workflow_execution/inputs/{run['execution_id']}")
        answer = started(user, run["entry"], f"stemma:file:{run['inputs']['file']['id']}")
        found = Served.run_to_end(user, answer.json()["data"]["execution_id"])
        assert found["status"] == "failed"
        assert digest_of(run, "inputs", "file") in json.dumps(found)


@contextmanager
def cut(service: Archived) -> Iterator[None]:
    """The archive cannot be reached meanwhile."""
    if service.cutter is not None:
        with service.cutter.down():
            yield
        return
    away = service.folder.with_name("away")
    service.folder.rename(away)
    service.folder.mkdir()
    try:
        yield
    finally:
        service.folder.rmdir()
        away.rename(service.folder)


@pytest.mark.timeout(300)
def test_everything_when_the_archive_cannot_be_reached_then_waits_or_says_so(service: Archived) -> None:
    content = Served.name("cut").encode()
    with service.served.client_as("user_1") as user:
        run = run_with_upload(service, user, content)
        number = run["inputs"]["file"]["id"]
        with cut(service):
            for path in (f"files/{number}", f"inputs/{run['execution_id']}"):
                refused = user.get(f"/workflow_execution/{path}")
                assert (refused.status_code, refused.headers["Stemma-Error"]) == (503, "archive-unavailable"), (
                    refused.text
                )
                assert refused.headers["Retry-After"] == "30"
                assert PASSWORD not in refused.text
            answer = started(user, run["entry"], f"stemma:file:{number}")
            assert answer.status_code == 200, answer.text
            other = Served.name("while it is away").encode()
            inputs = json.dumps({"file": {"class": "File", "location": "sent.bin"}})
            sent = [("files", ("sent.bin", other))]
            entry = run["entry"]
            ended(user, user.post(f"/workflow_execution/execute/{entry}", data={"inputs": inputs}, files=sent))
        found = Served.run_to_end(user, answer.json()["data"]["execution_id"], 120)
        assert found["status"] == "finished", found
        service.until_all_lies_there()
        assert service.place_of(hashlib.sha256(other).hexdigest()).read_bytes() == other


@pytest.mark.parametrize("kind", KINDS)
def test_run_when_the_store_is_full_of_archived_files_then_they_make_room(kind: str, tmp_path: Path) -> None:
    lying, home = tmp_path / "archive", tmp_path / "home"
    lying.mkdir()
    home.mkdir()
    with ExitStack() as stack:
        data = stack.enter_context(data_server())
        values: dict[str, Any] = {"archive": f"file://{lying}", "lease_seconds": 1.5, "store_bytes": 4_000_000}
        hosts = {"allow_plain_http": True, "allow_private_hosts": data.url.removeprefix("http://")}
        installation = stack.enter_context(opened_installation(kind, home, **values, **hosts))
        stack.enter_context(working(installation))
        service = Archived(stack.enter_context(served_installation(installation)), lying, None)
        with service.served.client_as("user_1") as user:
            inputs = json.dumps({"file": {"class": "File", "location": "sent.bin"}})
            sent = [("files", ("sent.bin", SENT[:1_200_000]))]
            entry = registered(user)
            first = ended(user, user.post(f"/workflow_execution/execute/{entry}", data={"inputs": inputs}, files=sent))
            service.until_all_lies_there()
            digests = {digest_of(first, "inputs", "file"), digest_of(first, "outputs", "doubled")}
            assert all(installation.store.has(digest) for digest in digests)
            url = data.put(Served.name("elsewhere"), SENT[1_000_000:2_500_000])
            second = ended(user, started(user, entry, url))
            assert digest_of(second, "outputs", "doubled") == hashlib.sha256(SENT[1_000_000:2_500_000] * 2).hexdigest()
            assert not all(installation.store.has(digest) for digest in digests)
            for side, port in (("inputs", "file"), ("outputs", "doubled")):
                found = user.get(f"/workflow_execution/files/{first[side][port]['id']}")
                assert hashlib.sha256(found.content).hexdigest() == digest_of(first, side, port)
