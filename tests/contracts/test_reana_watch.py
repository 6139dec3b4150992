"""Watching many runs with few requests, against a server that changes its mind. On real sockets."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import pytest
from pydantic import SecretStr

from stemma.engines.reana import faults
from stemma.engines.reana.answers import RunState
from stemma.engines.reana.limiter import Limiter
from stemma.engines.reana.watch import Watch
from stemma.errors import EngineUnreachable
from support.reana_scripted import RUN, Call, run, session_with


class Runs:
    """A list of runs that a test changes."""

    def __init__(self, count: int) -> None:
        self.states = {str(uuid4()): "running" for _ in range(count)}
        self.broken = False

    def __call__(self, call: Call) -> None:
        if self.broken:
            call.refuse(502, "")
            return
        wanted = call.query.get("status")
        only = call.query.get("workflow_id_or_name", [None])[0]
        items = [
            run(id_, state)
            for id_, state in self.states.items()
            if (wanted is None or state in wanted) and only in {None, id_}
        ]
        page, size = (int(call.query[name][0]) for name in ("page", "size"))
        call.json({"items": items[(page - 1) * size : page * size]})


def test_watch_when_200_runs_are_asked_for_in_threads_then_few_requests_tell_every_change() -> None:
    runs = Runs(200)
    ids = list(runs.states)
    with session_with(runs, requests_per_second=10.0) as (session, script):
        with ThreadPoolExecutor(8) as pool:
            assert {run.state for run in pool.map(session.watch.look, ids)} == {RunState.RUNNING}
        assert len(script.calls) == 1
        began = time.monotonic()
        for id_ in ids[:150]:
            runs.states[id_] = "finished"
        while any(session.watch.look(id_).state is not RunState.FINISHED for id_ in ids[:150]):
            assert time.monotonic() - began < 10
            time.sleep(0.05)
        assert len(script.calls) / (time.monotonic() - began) < 5
        assert session.watch.look(ids[199]).state is RunState.RUNNING


@dataclass
class Clock:
    """Time that a test lets pass."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_watch_when_nothing_changes_then_it_is_asked_less_and_less_until_something_does() -> None:
    runs, clock = Runs(3), Clock()
    first = next(iter(runs.states))
    with session_with(runs) as (session, script):
        watch = session.watch = Watch(session, clock=clock)

        def asked(seconds: int) -> int:
            before = len(script.calls)
            for _ in range(seconds * 10):
                clock.now += 0.1
                for id_ in runs.states:
                    watch.look(id_)
            return len(script.calls) - before

        assert 4 <= asked(10) <= 8
        assert 10 <= asked(60) <= 13
        runs.states[first] = "stopped"
        asked(6)
        assert watch.look(first).state is RunState.STOPPED
        runs.states[first] = "finished"  # it cannot: and is not asked for again at once
        assert 3 <= asked(10) <= 8


def test_watch_when_there_are_many_tokens_then_they_share_what_the_server_takes() -> None:
    runs, clock = Runs(1), Clock()
    (id_,) = runs.states
    with session_with(runs) as (session, script):
        server = session.server
        server._process.limiter = Limiter(10, clock=clock, sleep=clock.sleep)
        sessions = [server.session(SecretStr(f"token-{number}")) for number in range(40)]
        for one in sessions:
            one.watch = Watch(one, clock=clock)
            one.watch.look(id_)
        before, began = len(script.calls), clock.now
        while clock.now < began + 60:
            for one in sessions:
                one.watch.look(id_)
            clock.now += 0.1
        spent = clock.now - began
    assert 0.2 * 10 * spent < len(script.calls) - before < 0.45 * 10 * spent


def test_watch_when_a_page_of_the_list_is_too_large_then_smaller_ones_are_asked_for() -> None:
    runs = Runs(30)

    def answer(call: Call) -> None:
        if int(call.query["size"][0]) > 100:
            call.begin(content_type="application/json", content_length=str(1 << 40))
            call.wfile.write(b" " * (70 << 20))
        else:
            runs(call)

    with session_with(answer) as (session, _):
        assert {session.watch.look(id_).state for id_ in runs.states} == {RunState.RUNNING}


def test_watch_when_a_run_was_told_to_stop_then_the_next_look_is_a_new_one() -> None:
    runs = Runs(1)
    (id_,) = runs.states
    with session_with(runs) as (session, _):
        assert session.watch.look(id_).state is RunState.RUNNING
        runs.states[id_] = "stopped"
        assert session.watch.look(id_).state is RunState.RUNNING  # as it was known
        session.watch.look_anew(id_)
        assert session.watch.look(id_).state is RunState.STOPPED


def test_watch_when_a_run_is_new_then_it_is_seen_at_once() -> None:
    runs = Runs(1)
    with session_with(runs) as (session, _):
        session.watch.look(next(iter(runs.states)))
        runs.states[RUN] = "created"
        assert session.watch.look(RUN).state is RunState.CREATED


def test_watch_when_a_run_has_ended_or_is_deleted_or_gone_then_it_is_looked_at_by_itself() -> None:
    runs = Runs(1)
    runs.states[RUN] = "deleted"
    with session_with(runs) as (session, script):
        assert session.watch.look(RUN).state is RunState.DELETED
        with pytest.raises(faults.RunGone):
            session.watch.look(str(uuid4()))
        before = len(script.calls)
        assert session.watch.look(RUN).state is RunState.DELETED
    assert len(script.calls) == before


def test_watch_when_the_server_is_down_then_all_are_told_and_it_is_not_asked_by_each() -> None:
    runs = Runs(20)
    with session_with(runs) as (session, script):
        runs.broken = True
        for id_ in runs.states:
            with pytest.raises(EngineUnreachable, match="502 Bad Gateway"):
                session.watch.look(id_)
        assert len(script.calls) == 1
        runs.broken = False
        deadline = time.monotonic() + 10
        while True:
            try:
                assert session.watch.look(next(iter(runs.states))).state is RunState.RUNNING
                break
            except EngineUnreachable:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_watch_when_one_run_is_not_understood_then_the_others_are() -> None:
    runs = Runs(2)
    good, bad = runs.states
    runs.states[bad] = "levitating"
    with session_with(runs) as (session, _):
        assert session.watch.look(good).state is RunState.RUNNING
        with pytest.raises(EngineUnreachable, match="not understood"):
            session.watch.look(bad)
        assert session.watch.look(good).state is RunState.RUNNING


def test_server_when_the_process_forks_then_the_child_has_connections_of_its_own() -> None:
    runs = Runs(1)
    (id_,) = runs.states
    with session_with(runs) as (session, _):
        session.watch.look(id_)
        parent = session.server.limiter
        held = session.server._process.lock
        with held:  # as another thread of the parent may hold it just then
            child = os.fork()
            if child == 0:
                is_good = session.status(id_).state is RunState.RUNNING
                is_good = is_good and session.watch.look(id_).state is RunState.RUNNING
                os._exit(0 if is_good and session.server.limiter is not parent else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
