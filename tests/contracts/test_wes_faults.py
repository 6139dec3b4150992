"""The WES engine where a server fails: lost answers, refusals, answers that are none, a time limit, a stop."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stemma import clock
from stemma.engines.protocol import JobState, Owner
from stemma.engines.wes import server as wes_server
from stemma.engines.wes.request import Attachment
from stemma.errors import EngineRefused, EngineUnreachable, Unavailable
from support.scripted_http import Answered, Asked
from support.wes_bench import WesBench
from support.wes_scripted import SECRET, TOOL, ScriptedWes, always, once, said, scripted_wes, start


@pytest.fixture
def wes(tmp_path: Path):
    with scripted_wes(tmp_path) as both:
        yield both


def lose_the_answer(server: ScriptedWes) -> None:
    """The next run is started, and nobody hears of it."""

    def taken(asked: Asked) -> Answered:
        return Answered(200, server.take(asked).body, cut_after=3)

    server.faults["POST /runs"] = once(taken)


def new_job(bench: WesBench, **more: Any) -> Any:
    return bench.job(bench.revision({"main.cwl": TOOL}), {"text": bench.file("a text", "text.txt")}, **more)


def test_submit_when_sent_then_document_and_inputs_are_attached(wes) -> None:
    server, bench = wes
    files = {"main.cwl": TOOL, "tools/my tool.cwl": "cwlVersion: v1.2", 'odd"na;me.txt': "text"}
    second = bench.file("second", "second.txt")
    inputs = {
        "text": bench.file("first", "../na me\n.txt", secondaryFiles=[second]),
        "folder": bench.directory("folder", bench.file("third", "third.txt")),
        "number": 3,
    }
    bench.submit(bench.job(bench.revision(files), inputs, name="name"))
    fields = {name: body.decode() for name, file, body in server.only_run.form if file is None}
    sent = {file: body for name, file, body in server.only_run.form if name == "workflow_attachment"}
    assert (fields["workflow_url"], fields["workflow_type"]) == ("bundle/main.cwl", "CWL")
    assert fields["workflow_type_version"] == "v1.2"
    parameters = json.loads(fields["workflow_params"])
    assert set(parameters["text"]) == {"class", "basename", "location", "secondaryFiles"}
    assert parameters["text"]["basename"] == "../na me\n.txt"
    assert sent[parameters["text"]["location"]] == b"first"
    assert sent[parameters["text"]["secondaryFiles"][0]["location"]] == b"second"
    assert sent[parameters["folder"]["listing"][0]["location"]] == b"third"
    assert "stemma:occurrence" not in fields["workflow_params"]
    assert sent["bundle/tools/my tool.cwl"] == b"cwlVersion: v1.2"
    assert all(".." not in name and "\n" not in name for name in sent)


def test_submit_when_an_input_names_a_place_of_its_own_then_refused(wes) -> None:
    server, bench = wes
    inputs = {"text": {"class": "File", "location": "file:///etc/passwd"}}
    with pytest.raises(EngineRefused, match="'text'"):
        bench.submit(bench.job(bench.revision({"main.cwl": TOOL}), inputs))
    assert server.runs == {}


def test_attachment_when_read_then_open_for_that_time_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    attachment = Attachment(path)
    assert attachment._file is None
    assert attachment.seek(0, 2) == 10
    attachment.seek(2)
    assert attachment.read(3) == b"234"
    assert attachment._file is not None
    assert attachment.read() == b"56789"
    assert attachment.read() == b""
    assert attachment._file is None


@pytest.mark.parametrize(("in_list", "in_log"), [(True, True), (False, True)])
def test_submit_when_the_answer_is_lost_then_the_run_is_found_by_its_tags(wes, in_list: bool, in_log: bool) -> None:
    server, bench = wes
    server.tags_in_list, server.tags_in_log = in_list, in_log
    lose_the_answer(server)
    job = new_job(bench)
    with pytest.raises(EngineUnreachable):
        bench.submit(job)
    reference = bench.reopened().submit(job)
    assert len(server.runs) == 1
    assert bench.engine.report(reference, "").identity.id == "run-0"


def test_submit_when_the_answer_is_lost_and_no_tags_are_kept_then_never_started_twice(wes) -> None:
    server, bench = wes
    server.tags_in_list = server.tags_in_log = False
    lose_the_answer(server)
    job = new_job(bench)
    with pytest.raises(EngineUnreachable):
        bench.submit(job)
    with pytest.raises(EngineRefused, match="none of its runs has tags"):
        bench.submit(job)
    assert len(server.asked("POST /runs")) == 1


def test_submit_when_the_server_has_no_such_run_then_asked_anew_after_a_while(tmp_path: Path) -> None:
    with scripted_wes(tmp_path, settle_seconds=3600) as (server, bench):
        server.faults["POST /runs"] = once(always(500))
        job = new_job(bench)
        with pytest.raises(EngineUnreachable):
            bench.submit(job)
        with pytest.raises(EngineUnreachable, match="may still be taking it"):
            bench.submit(job)
        bench.engine._settle_seconds = 0
        bench.submit(job)
        assert len(server.runs) == 1


def test_report_when_a_lost_start_shows_up_after_all_then_the_twin_is_ended(wes) -> None:
    server, bench = wes
    server.faults["POST /runs"] = once(always(502))
    job = new_job(bench)
    with pytest.raises(EngineUnreachable):
        bench.submit(job)
    reference = bench.submit(job)
    server.take(server.asked("POST /runs")[0])
    bench.engine.report(reference, "")
    assert [run.state for run in server.runs.values()] == ["RUNNING", "CANCELED"]


def test_submit_when_there_is_no_connection_then_it_can_be_tried_again_at_once(tmp_path: Path) -> None:
    with scripted_wes(tmp_path, settle_seconds=3600) as (_, bench):
        job, url = new_job(bench), bench.engine._url
        bench.engine._url = "http://127.0.0.1:9"
        with pytest.raises(Unavailable):
            bench.submit(job)
        bench.engine._url = url
        trail = bench.engine._folder(f"{job.run_uuid}/1").trail()
        assert trail.asked == 0


def test_submit_when_the_server_says_no_then_its_words(wes) -> None:
    server, bench = wes
    server.faults["POST /runs"] = once(lambda _: said({"msg": "no\x1b[31m such\u202e engine" + "x" * 5000}, 400))
    job = new_job(bench)
    with pytest.raises(EngineRefused, match="no such engine") as caught:
        bench.submit(job)
    assert len(str(caught.value)) < 500
    bench.submit(job)
    assert len(server.runs) == 1


@pytest.mark.parametrize(
    ("authentication", "shown"), [("bearer", f"Bearer {SECRET}"), ("basic", "Basic YS1sb25nLXNlY3JldC10b2tlbjpwYXNz")]
)
def test_requests_when_there_is_a_credential_then_shown_and_in_no_text(
    tmp_path: Path, authentication: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    given = SECRET if authentication == "bearer" else f"{SECRET}:pass"
    seen = []

    def credential(owner: Owner | None) -> SecretStr:
        seen.append(owner)
        return SecretStr(given)

    with scripted_wes(tmp_path, credential=credential, authentication=authentication) as (server, bench):
        server.faults["GET /service-info"] = lambda _: said({"msg": f"bad {SECRET}"}, 401)
        owner = Owner("subject", "group")
        with pytest.raises(EngineRefused, match=r"bad \*\*\*"):
            bench.engine.acting_for(owner).probe()
        assert seen[0] == owner
        assert server.http.asked[0].headers["authorization"] == shown
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (always(503, b"later"), EngineUnreachable),
        (always(429), EngineUnreachable),
        (always(200, b"<html>Sign in</html>", headers={"Content-Type": "text/html"}), EngineUnreachable),
        (always(200, b'{"state": "RUN', cut_after=5), EngineUnreachable),
        (always(200, b"[" * 100_000), EngineUnreachable),
        (always(200, b"[]"), EngineUnreachable),
        (always(401), EngineRefused),
        (always(403, b'{"msg": 7}'), EngineRefused),
        (always(302, headers={"Location": "http://elsewhere.example.org/"}), EngineRefused),
    ],
)
def test_report_when_the_server_does_not_answer_properly_then_said_so(wes, fault, error: type[Exception]) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.faults["GET /runs/run-0/status"] = fault
    with pytest.raises(error):
        bench.engine.report(reference, "")
    server.faults.clear()
    assert bench.engine.report(reference, "").state is JobState.RUNNING


def test_report_when_an_answer_is_huge_then_refused(wes, monkeypatch: pytest.MonkeyPatch) -> None:
    server, bench = wes
    reference, _ = start(bench)
    monkeypatch.setattr(wes_server, "ANSWER_BYTES", 10_000)
    server.faults["GET /runs/run-0/status"] = always(200, b" " * 20_000)
    with pytest.raises(EngineRefused, match="10000 bytes"):
        bench.engine.report(reference, "")


def test_stop_when_the_server_calls_it_an_error_then_stopped(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.faults["POST /runs/run-0/cancel"] = always(200)
    bench.engine.stop(reference)
    bench.engine.stop(reference)
    assert len(server.asked("POST /runs/run-0/cancel")) == 1
    server.only_run.state = "EXECUTOR_ERROR"
    report = bench.engine.report(reference, "")
    assert report.state is JobState.STOPPED
    assert "EXECUTOR_ERROR" in report.reason


def test_stop_when_the_answer_was_lost_then_the_run_is_found_and_ended(wes) -> None:
    server, bench = wes
    lose_the_answer(server)
    job = new_job(bench)
    with pytest.raises(EngineUnreachable):
        bench.submit(job)
    reference = f"{job.run_uuid}/1"
    bench.engine.stop(reference)
    assert server.only_run.state == "CANCELED"
    assert bench.engine.report(reference, "").state is JobState.STOPPED


def test_report_when_over_its_time_limit_then_cancelled_and_failed(wes) -> None:
    server, bench = wes
    reference, _ = start(bench, time_limit_seconds=30.0)
    bench.engine.report(reference, "")
    assert server.only_run.state == "RUNNING"
    folder = bench.engine._folder(reference)
    trail = folder.trail()
    trail.started_at = clock.now() - timedelta(seconds=31)
    folder.keep(trail)
    bench.engine.report(reference, "")
    report = bench.engine.report(reference, "")
    assert report.state is JobState.FAILED
    assert report.reason == "it took longer than the time limit of 30 seconds"


def test_report_when_the_settings_name_another_server_then_refused(wes) -> None:
    _, bench = wes
    reference, _ = start(bench)
    url, bench.engine._url = bench.engine._url, "http://127.0.0.1:9"
    with pytest.raises(EngineRefused, match="another server now"):
        bench.engine.report(reference, "")
    bench.engine._url = url


def test_delete_when_the_server_keeps_runs_then_said_and_ours_is_gone(wes, caplog: pytest.LogCaptureFixture) -> None:
    server, bench = wes
    reference, job = start(bench)
    server.only_run.state = "SYSTEM_ERROR"
    bench.engine.delete(reference)
    assert "stays on the WES server as run-0" in caplog.text
    assert not (bench.runs / str(job.run_uuid)).exists()


def test_delete_when_it_still_runs_then_ended_first(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.faults["POST /runs/run-0/cancel"] = always(200)
    with pytest.raises(EngineUnreachable, match="has not ended"):
        bench.engine.delete(reference)
    server.only_run.state = "CANCELED"
    server.faults["DELETE /runs/run-0"] = always(200)
    bench.engine.delete(reference)
    assert len(server.asked("DELETE /runs/run-0")) == 1
