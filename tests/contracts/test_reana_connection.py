"""What talks to a REANA server, against servers that misbehave: on real sockets."""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from stemma.engines.reana import faults
from stemma.engines.reana.answers import RunState
from stemma.engines.reana.server import ReanaServer
from stemma.errors import EngineRefused, EngineUnreachable
from support.reana_scripted import RUN, TOKEN, Call, certificates, job, run, scripted_reana, session_with

QUOTED = "a%20secret%2Fto%2Bken"


def you(call: Call) -> None:
    call.json({"email": "ada@example.org", "reana_server_version": "0.9.4", "reana_token": {"value": TOKEN}})


# whom it talks to


def test_you_when_the_certificate_is_of_an_authority_that_is_named_then_it_is_believed(tmp_path: Path) -> None:
    ca_file, identity = certificates(tmp_path)
    with session_with(you, identity=identity, ca_file=ca_file) as (session, _):
        assert session.you().email == "ada@example.org"


def test_you_when_the_certificate_is_of_nobody_known_then_nothing_is_sent(tmp_path: Path) -> None:
    _, identity = certificates(tmp_path)
    with session_with(you, identity=identity) as (session, script):
        with pytest.raises(EngineUnreachable, match=r"certificate is not to be trusted.*STEMMA_REANA_CA_FILE"):
            session.you()
        with pytest.raises(EngineUnreachable, match="certificate is not to be trusted"):
            session.find(RUN)
        with pytest.raises(EngineUnreachable, match="certificate is not to be trusted"):
            session.upload(RUN, "data/a", b"a", 1)
    assert script.calls == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_to_another_host_when_sent_then_nobody_goes_there_and_it_is_said(status: int) -> None:
    with scripted_reana(you) as other:
        target = other.url.replace("127.0.0.1", "localhost")

        def redirect(call: Call) -> None:
            call.give(b"", status, location=f"{target}{call.path}")

        with session_with(redirect) as (session, _):
            for ask in (session.you, lambda: session.find(RUN), lambda: list(session.download(RUN, "a", 1))):
                with pytest.raises(EngineUnreachable, match="sends us to http://localhost") as caught:
                    ask()
                assert "secret" not in str(caught.value)
    assert other.calls == []


def test_server_when_nobody_listens_then_it_is_unreachable_with_a_reason() -> None:
    with scripted_reana(you) as script:
        pass
    with pytest.raises(EngineUnreachable, match="nobody listens at its address"):
        ReanaServer(script.url).session(SecretStr(TOKEN)).you()


def test_server_when_its_name_is_unknown_then_it_is_unreachable_with_a_reason() -> None:
    with pytest.raises(EngineUnreachable, match="name cannot be looked up"):
        ReanaServer("http://no-such-host.invalid").session(SecretStr(TOKEN)).you()


def test_server_when_it_speaks_no_tls_then_it_is_unreachable_with_a_reason() -> None:
    with scripted_reana(you) as script, pytest.raises(EngineUnreachable, match="does not speak TLS as expected"):
        ReanaServer(script.url.replace("http:", "https:")).session(SecretStr(TOKEN)).you()


@pytest.mark.parametrize("url", ["reana.example.org", "ftp://a", "https://", "https://u:p@a", "https://a?x=1"])
def test_server_when_the_address_is_none_then_it_is_not_made(url: str) -> None:
    with pytest.raises(ValueError, match="the address of a REANA server is like"):
        ReanaServer(url)


def test_several_servers_and_tokens_when_asked_in_threads_at_once_then_each_gets_its_own() -> None:
    def answer(call: Call) -> None:
        time.sleep(0.002)
        name = f"{call.query['access_token'][0]}-{call.server.server_port}"
        call.json({"items": [run(name=f"{name}.1")]})

    with ExitStack() as stack:
        sessions = {}
        for _ in range(3):
            script = stack.enter_context(scripted_reana(answer))
            server = stack.enter_context(closing(ReanaServer(script.url, requests_per_second=10_000)))
            for token in ("ada", "bob", "eve"):
                sessions[f"{token}-{script.url.rpartition(':')[2]}"] = server.session(SecretStr(token))
        with ThreadPoolExecutor(12) as pool:
            asked = [(name, pool.submit(session.status, RUN)) for name, session in sessions.items() for _ in range(20)]
        assert len(asked) == 180
        for name, found in asked:
            assert found.result().name == name


# what stays secret


def test_token_when_anything_goes_wrong_at_debug_then_it_is_in_no_log_error_or_repr(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(call: Call) -> None:
        call.body()
        url = f"http://elsewhere.invalid{call.path}"
        if "/you" in call.path:
            call.refuse(403, f"Token not valid: {TOKEN} in {call.path}", x_original=url)
        elif "/logs" in call.path:
            call.give(b"", 302, location=url)
        elif "type=batch" in call.path:
            call.json({"items": [run(status=TOKEN)]}, x_original=url)
        else:
            call.refuse(500, f"<{url}>")

    errors: list[BaseException] = []
    with session_with(echo) as (session, _):
        for ask in (
            session.you,
            lambda: session.logs(RUN),
            lambda: session.find(RUN),
            lambda: session.start(RUN),
            lambda: session.create("probe", {"a": 1}),
            lambda: session.upload(RUN, "a", b"a", 1),
            lambda: list(session.download(RUN, "a", 1)),
        ):
            with pytest.raises((EngineRefused, EngineUnreachable)) as caught:
                ask()
            errors.append(caught.value)
        shown = [repr(session), repr(session.server), repr(vars(session)), repr(vars(session.server))]
    while errors:
        error = errors.pop()
        shown += [str(error), repr(error), repr(vars(error))]
        errors += [cause for cause in (error.__cause__, error.__context__) if cause is not None]
    assert "HTTP Request: GET" in caplog.text  # they do log
    for text in (caplog.text, *shown):
        assert TOKEN not in text
        assert QUOTED not in text


# what it answers


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (401, "User not signed in", faults.TokenRefused, "does not accept the token"),
        (403, "Token not valid.", faults.TokenRefused, "does not accept the token"),
        (403, "User quota exceeded.\nResource: disk", faults.QuotaUsedUp, "quota there is used up"),
        (403, "Workflow probe.6 is already running and cannot be started again.", faults.AlreadyStarted, "already"),
        (400, 'Input parameter "z" is not present', faults.ReanaRefused, "is not present"),
        (400, {"json": {"a": ["Unknown field."]}}, faults.ReanaRefused, "Unknown field"),
        (409, "Workflow x is not running.", faults.StateConflict, "is not running"),
        (500, "Workflow e.4 cannot be deleted as it is currently running.", faults.StateConflict, "currently running"),
        (500, "database is down", faults.ReanaTrouble, "500 Internal Server Error: database is down"),
        (503, "later", faults.ReanaTrouble, "503 Service Unavailable"),
    ],
)
def test_refusal_when_answered_then_it_is_an_error_of_ours_with_its_status(
    status: int, message: object, kind: type[Exception], words: str
) -> None:
    def refuse(call: Call) -> None:
        call.body()
        call.refuse(status, message)

    with session_with(refuse) as (session, _), pytest.raises(kind, match=words) as caught:
        session.start(RUN)
    assert type(caught.value) is kind
    assert vars(caught.value)["http_status"] == status


@pytest.mark.parametrize("status", [200, 404, 403, 405, 502, 504])
def test_page_of_a_proxy_when_answered_then_the_server_is_unreachable(status: int) -> None:
    def page(call: Call) -> None:
        call.body()
        call.give(b"<html><h1>Bad Gateway</h1></html>", status, content_type="text/html")

    with session_with(page) as (session, _):
        for ask in (session.you, lambda: session.find(RUN), lambda: session.upload(RUN, "a", b"a", 1)):
            with pytest.raises(EngineUnreachable):
                ask()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"a"', b'{"items": 5}', b'{"items": [{}]}', b"[" * 100_000, b"\xff\xfe"]
)
def test_list_when_it_is_not_what_it_should_be_then_it_is_a_wrong_answer(body: bytes) -> None:
    def answer(call: Call) -> None:
        call.give(body, content_type="application/json")

    with (
        session_with(answer) as (session, _),
        pytest.raises(EngineUnreachable, match=r"not understood|not JSON|no list"),
    ):
        session.status(RUN)


def test_answer_when_it_is_giant_then_it_is_not_taken_into_memory() -> None:
    sent = 0

    def giant(call: Call) -> None:
        nonlocal sent
        call.begin(content_type="application/json", content_length=str(1 << 40))
        while True:
            call.wfile.write(b" " * (1 << 20))
            sent += 1 << 20

    with session_with(giant) as (session, _), pytest.raises(faults.AnswerTooLarge, match="over the limit"):
        session.you()
    assert sent < 80 << 20


def test_answer_when_it_does_not_come_then_it_is_waited_for_no_longer_than_said() -> None:
    stop = threading.Event()
    with session_with(lambda _: stop.wait(10) and None, timeout_seconds=0.2) as (session, _):
        began = time.monotonic()
        with pytest.raises(EngineUnreachable, match=r"says nothing for 0\.2 seconds"):
            session.find(RUN)
        assert time.monotonic() - began < 5
        stop.set()


def test_answer_when_it_drips_for_ever_then_it_is_given_up() -> None:
    stop = threading.Event()

    def drip(call: Call) -> None:
        call.begin(content_type="application/json", content_length="1000000")
        while not stop.wait(0.05):
            call.wfile.write(b" ")

    with session_with(drip, timeout_seconds=0.2) as (session, _):
        with pytest.raises(EngineUnreachable, match="too slowly"):
            session.find(RUN)
        stop.set()


def test_kept_connection_when_the_server_has_closed_it_then_a_look_is_made_again() -> None:
    served: dict[object, int] = {}

    def answer(call: Call) -> None:
        served[call.connection] = served.get(call.connection, 0) + 1
        if served[call.connection] > 1:
            call.hang_up()  # without a word: as one whose time ran out while the request was on its way
        else:
            call.json({"items": [run()]})

    with session_with(answer) as (session, _):
        assert session.status(RUN).state is RunState.RUNNING
        assert session.status(RUN).state is RunState.RUNNING
    assert list(served.values()) == [2, 1]


# 404


def test_404_when_the_list_has_the_run_then_it_may_be_tried_again() -> None:
    def answer(call: Call) -> None:
        if "/logs" in call.path:
            call.refuse(404, "REANA_WORKON is set to x, but that workflow does not exist.")
        else:
            call.json({"items": [run()]})

    with session_with(answer) as (session, _), pytest.raises(faults.NotFoundThere):
        session.logs(RUN)


def test_404_when_the_list_has_no_such_run_then_it_is_gone() -> None:
    def answer(call: Call) -> None:
        call.body()
        if "type=batch" in call.path:
            call.json({"items": []})
        else:
            call.refuse(404, "REANA_WORKON is set to x, but that workflow does not exist.")

    with session_with(answer) as (session, _):
        for ask in (lambda: session.logs(RUN), lambda: session.start(RUN), lambda: session.upload(RUN, "a", b"", 0)):
            with pytest.raises(faults.RunGone):
                ask()


def test_no_such_run_when_it_is_said_with_another_status_then_it_is_looked_for() -> None:
    def answer(call: Call) -> None:
        if "type=batch" in call.path:
            call.json({"items": []})
        else:
            call.refuse(403, f"REANA_WORKON is set to {RUN}, but that workflow does not exist.")

    with session_with(answer) as (session, _), pytest.raises(faults.RunGone):
        session.specification(RUN)


def test_server_when_it_is_called_by_a_name_that_it_does_not_have_then_runs_are_not_lost() -> None:
    def answer(call: Call) -> None:
        call.json({"message": "Host '127.0.0.1' is not trusted.", "status": 400}, 400)

    with session_with(answer) as (session, _), pytest.raises(EngineUnreachable, match="is not trusted"):
        session.status(RUN)


def test_find_when_the_run_was_deleted_then_it_is_found_as_deleted() -> None:
    with session_with(lambda call: call.json({"items": [run(state="deleted")]})) as (session, script):
        found = session.find(RUN)
    assert found is not None
    assert found.state is RunState.DELETED
    assert "status=" not in script.calls[0][1]


def test_files_when_the_workspace_was_deleted_then_it_is_said() -> None:
    def answer(call: Call) -> None:
        if "/workspace/" in call.path:
            call.refuse(500, "[Errno 2] No such file or directory")
        else:
            call.refuse(404, "Workspace does not exist.")

    with session_with(answer) as (session, _):
        with pytest.raises(faults.WorkspaceGone):
            list(session.files(RUN))
        with pytest.raises(faults.WorkspaceGone):
            list(session.download(RUN, "outputs/a.txt", 5))


# how often


def test_429_when_it_comes_then_the_request_is_made_again_and_all_slow_down() -> None:
    refusals = 2

    def answer(call: Call) -> None:
        nonlocal refusals
        call.body()
        if refusals:
            refusals -= 1
            call.refuse(429, 'Too many requests. Only "20 per 1 second" allowed.', retry_after="0.05")
        else:
            call.json({"workflow_id": RUN, "workflow_name": "probe.6"}, 201)

    with session_with(answer, requests_per_second=40.0) as (session, script):
        assert session.create("probe", {}).number == 6
        assert len(script.calls) == 3
        assert session.server.limiter.per_second < 25


def test_429_when_it_never_ends_then_the_server_is_unreachable() -> None:
    with (
        session_with(lambda call: call.refuse(429, "Too many requests", retry_after="0")) as (session, script),
        pytest.raises(EngineUnreachable, match="429 Too Many Requests: Too many requests"),
    ):
        session.you()
    assert len(script.calls) == 6


def test_requests_when_many_threads_and_tokens_ask_then_the_rate_is_kept() -> None:
    times: list[float] = []

    def answer(call: Call) -> None:
        times.append(time.monotonic())
        you(call)

    with session_with(answer, requests_per_second=50.0) as (session, _):
        others = [session.server.session(SecretStr(f"token-{number}")) for number in range(5)]
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda number: others[number % 5].you(), range(30)))
    assert len(times) == 30
    assert max(times) - min(times) > 29 / 50 * 0.9


# logs


def logs_answer(jobs: list[dict[str, object]], largest: int = 1 << 60) -> Callable[[Call], None]:
    def answer(call: Call) -> None:
        page, size = (int(call.query[name][0]) for name in ("page", "size"))
        part = {str(number): jobs[number] for number in range((page - 1) * size, min(page * size, len(jobs)))}
        text = json.dumps({"workflow_logs": "engine", "job_logs": part, "engine_specific": None})
        call.json({"logs": text if len(text) < largest else "x" * (17 << 20)})

    return answer


def test_logs_when_there_are_10000_jobs_then_all_come_in_pages() -> None:
    with session_with(logs_answer([job(job_name=f"say_{number}") for number in range(10_000)])) as (session, script):
        found = session.logs(RUN)
        assert [one.name for one in found.jobs] == [f"say_{number}" for number in range(10_000)]
        assert len(script.calls) == 20
        late = session.logs(RUN, begin=9_990)
    assert [one.id for one in late.jobs] == [str(number) for number in range(9_990, 10_000)]
    assert (late.begin, late.workflow_log) == (9_990, "engine")


def test_logs_when_a_page_is_too_large_then_smaller_ones_are_asked_for() -> None:
    jobs = [job(logs="x" * 10_000) for _ in range(150)]
    with session_with(logs_answer(jobs, largest=400_000)) as (session, _):
        assert [one.id for one in session.logs(RUN, begin=7).jobs] == [str(number) for number in range(7, 150)]


def test_logs_when_nothing_is_there_yet_then_they_are_empty() -> None:
    text = json.dumps({"workflow_logs": None, "job_logs": {"1": job(logs=None, finished_at=None)}})
    with session_with(lambda call: call.json({"logs": text})) as (session, _):
        found = session.logs(RUN)
    assert (found.workflow_log, found.jobs[0].log, found.jobs[0].finished_at) == ("", "", None)


# clocks


def test_times_when_the_server_is_an_hour_ahead_then_they_are_brought_to_our_clock() -> None:
    def answer(call: Call) -> None:
        there = datetime.now(UTC) + timedelta(hours=1)
        call.send_response_only(200)
        call.send_header("Date", format_datetime(there))
        body = json.dumps({"items": [run(created=there.strftime("%Y-%m-%dT%H:%M:%S"))]}).encode()
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(body)))
        call.end_headers()
        call.wfile.write(body)

    with session_with(answer) as (session, _):
        created = session.status(RUN).created_at
        assert session.server.clock_ahead > timedelta(minutes=59)
    assert created is not None
    assert abs(datetime.now(UTC) - created) < timedelta(seconds=20)
