"""The fork server: a child a request, nothing secret, and no child that takes others with it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemma.forkserver import ForkServer, ForkServerGone

TARGET = "support.fork_targets:serve"


@pytest.fixture(scope="module", params=[False, True], ids=["attached", "detached"])
def server(request: pytest.FixtureRequest) -> Iterator[ForkServer]:
    tests = str(request.config.rootpath / "tests")
    before = os.environ.get("PYTHONPATH")  # noqa: TID251 - the server is a process with an environment
    os.environ["PYTHONPATH"] = tests  # noqa: TID251 - see above
    os.environ["STEMMA_SECRET"] = "hidden"  # noqa: TID251 - see above
    started = ForkServer(TARGET, detached=request.param)
    started.start()
    yield started
    started.close()
    del os.environ["STEMMA_SECRET"]  # noqa: TID251 - see above
    if before is None:
        del os.environ["PYTHONPATH"]  # noqa: TID251 - see above
    else:
        os.environ["PYTHONPATH"] = before  # noqa: TID251 - see above


def ask(server: ForkServer, **message: object) -> object:
    with server.request(message) as channel:
        return channel.receive(30)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(words=st.text(alphabet=st.characters(codec="utf-8"), max_size=2000))
def test_request_when_answered_is_one_message_each_way(server: ForkServer, words: str) -> None:
    assert ask(server, do="echo", words=words) == words


def test_request_when_large_arrives_whole(server: ForkServer) -> None:
    words = "x" * 5_000_000
    assert ask(server, do="echo", words=words) == words


def test_requests_when_many_at_once_are_each_answered_with_their_own(server: ForkServer) -> None:
    answers: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda number=number: answers.update({number: ask(server, do="echo", words=number)}))
        for number in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: number for number in range(24)}


def test_child_when_it_looks_around_finds_no_secret(server: ForkServer) -> None:
    assert ask(server, do="tell")["names"] == []


def test_child_when_forked_finds_the_first_preparation_done(server: ForkServer) -> None:
    assert ask(server, do="tell")["prepared"][0] == "first"


def test_preparation_when_idle_goes_on(server: ForkServer) -> None:
    deadline = time.monotonic() + 20
    while ask(server, do="tell")["prepared"] != ["first", "second"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.parametrize("way", ["die", "raise"])
def test_request_when_the_child_ends_without_an_answer_says_so(server: ForkServer, way: str) -> None:
    with server.request({"do": way}) as channel, pytest.raises(ForkServerGone):
        channel.receive(30)
    assert ask(server, do="echo", words="still here") == "still here"


def test_receive_when_no_answer_comes_in_time_is_a_timeout(server: ForkServer) -> None:
    with server.request({"do": "linger"}) as channel:
        pid = channel.receive(30)["pid"]
        with pytest.raises(TimeoutError):
            channel.receive(0.1)
        os.kill(pid, signal.SIGKILL)


def test_request_when_the_server_was_killed_starts_another(server: ForkServer) -> None:
    parent = ask(server, do="tell")["parent"]
    os.kill(parent, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(parent)] if psutil.pid_exists(parent) else [], timeout=10)
    assert ask(server, do="tell")["parent"] != parent


def test_child_when_detached_leads_a_session_and_outlives_the_server(server: ForkServer) -> None:
    if not server._detached:
        pytest.skip("only detached children do")
    with server.request({"do": "linger"}) as channel:
        pid = channel.receive(30)["pid"]
        assert os.getsid(pid) == pid
        server.close()
        assert psutil.pid_exists(pid)
        os.kill(pid, signal.SIGKILL)


def test_child_when_the_client_is_gone_can_tell_by_the_exceptions_name(server: ForkServer, tmp_path: Path) -> None:
    place = tmp_path / "noticed"
    with server.request({"do": "notice", "place": str(place)}) as channel:
        channel.receive(30)
    deadline = time.monotonic() + 20
    while not place.exists() or place.read_text() != "gone":
        assert time.monotonic() < deadline
        time.sleep(0.05)
