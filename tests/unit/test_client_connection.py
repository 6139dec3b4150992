"""The client when the connection breaks or the other side is no service of ours: downloads, events, answers."""

import hashlib
import io
import json
import re

import pytest

from stemma.client import Client, GivenToken, ServiceUnreachable, UnexpectedAnswer, connection, events
from stemma.errors import ContentDamaged, InvalidRequest
from support.scripted_http import Answered, scripted

CONTENT = bytes(range(256)) * 8192  # 2 MiB: some chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between connections are made short."""
    monkeypatch.setattr(connection, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(connection, "_LONGEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(events, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(events, "_LONGEST_PAUSE_SECONDS", 0.01)


def storing(content=CONTENT, *, cut_after, tag=f'"{DIGEST}"', ranges=True, status=200):
    """Answers as our service does for a stored file, and breaks off after so many bytes each time."""

    def answer(asked):
        headers = {"ETag": tag, "Accept-Ranges": "bytes"} if tag else {}
        first = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        if first is None or not ranges:
            return Answered(status, content, headers, cut_after)
        start = int(first[1])
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Answered(206, content[start:], headers, cut_after)

    return answer


def fetched(service, **more):
    target, told = io.BytesIO(), []
    with Client(service.url, GivenToken("t")) as client:
        came = client.runs.file(1, target, lambda through, total: told.append((through, total)), **more)
    return target.getvalue(), came, told


def test_file_when_the_connection_breaks_then_its_rest_is_asked_for():
    with scripted(storing(cut_after=700_000)) as service:
        content, came, told = fetched(service)
        ranges = [asked.headers.get("range") for asked in service.asked]
    assert content == CONTENT
    assert (came.sha256, came.size_bytes, told[-1]) == (DIGEST, len(CONTENT), (len(CONTENT), len(CONTENT)))
    assert ranges[0] is None
    assert len(ranges) >= 3
    starts = [int(one.removeprefix("bytes=").rstrip("-")) for one in ranges[1:]]
    assert starts == sorted(set(starts))
    assert starts[0] > 0
    assert {asked.headers.get("if-range") for asked in service.asked[1:]} == {f'"{DIGEST}"'}


def test_file_when_the_rest_cannot_be_asked_for_by_part_then_what_is_here_is_passed_over():
    cuts = [700_000, None]

    def answer(asked):
        return storing(cut_after=cuts.pop(0), ranges=False)(asked)

    with scripted(answer) as service:
        assert fetched(service)[0] == CONTENT
        assert len(service.asked) == 2


def test_file_when_it_has_changed_meanwhile_then_is_not_patched_together():
    answers = [storing(cut_after=700_000), storing(b"other", cut_after=None, tag='"other"', ranges=False)]

    def answer(asked):
        return answers.pop(0)(asked)

    with scripted(answer) as service, pytest.raises(UnexpectedAnswer, match="changed"):
        fetched(service)


def test_file_when_another_part_comes_than_asked_for_then_is_refused():
    def answer(asked):
        given = storing(cut_after=700_000)(asked)
        given.headers |= {"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"} if given.status == 206 else {}
        return given

    with scripted(answer) as service, pytest.raises(UnexpectedAnswer, match="another part"):
        fetched(service)


def test_file_when_the_connection_breaks_again_and_again_then_it_ends():
    with scripted(storing(cut_after=0)) as service:
        with pytest.raises(ServiceUnreachable):
            fetched(service)
        assert len(service.asked) == 9


def test_file_when_nobody_answers_at_first_then_is_said_at_once():
    with scripted(storing(cut_after=0)) as service:
        pass
    with pytest.raises(ServiceUnreachable):
        fetched(service)


@pytest.mark.parametrize("tag", [None, f'W/"{DIGEST}"'])
def test_archive_when_the_connection_breaks_then_is_not_patched_together(tag):
    with scripted(storing(cut_after=700_000, tag=tag)) as service:
        with pytest.raises(ServiceUnreachable):
            fetched(service)
        assert len(service.asked) == 1


@pytest.mark.parametrize("more", [{}, {"sha256": DIGEST}])
def test_file_when_it_is_not_what_it_was_to_be_then_is_said(more):
    tag = f'"{DIGEST}"' if not more else '"of another kind"'
    with scripted(storing(b"x" + CONTENT[1:], cut_after=None, tag=tag)) as service, pytest.raises(ContentDamaged):
        fetched(service, **more)


def stream(*numbers, end=False):
    told = "retry: 5\n\n: nothing new\n\n"
    for number in numbers:
        text = json.dumps({"status": "running", "message": "line\u2028one"}, ensure_ascii=False)
        told += f"id: {number}\nevent: run\ndata: {text}\n\n"
    return (told + ("event: end\ndata: {}\n\n" if end else "")).encode()


def watching(answer, patience_seconds=5.0):
    with scripted(answer) as service, Client(service.url, patience_seconds=patience_seconds) as client:
        found = [event.id for event in client.runs.watch(1)]
        return found, [asked.headers.get("last-event-id") for asked in service.asked]


def test_events_when_the_connection_is_cut_then_each_comes_once_and_in_order():
    pieces = [stream(1, 2), stream(3), stream(4, 5, end=True)]
    # The first is cut in the middle of its second event, the next ends without a word.
    cut = [len(stream(1, 2)) - 9, None, None]

    def answer(asked):
        after = int(asked.headers.get("last-event-id") or 0)
        wanted = {0: stream(1, 2), 1: stream(2, 3), 3: stream(4, 5, end=True)}[after]
        pieces.pop(0)
        return Answered(200, wanted, {"Content-Type": "text/event-stream"}, cut.pop(0))

    found, asked = watching(answer)
    assert found == ["1", "2", "3", "4", "5"]
    assert asked == [None, "1", "3"]


def test_events_when_the_service_is_gone_for_a_while_then_are_waited_for():
    answers = [
        Answered(200, stream(1)),
        Answered(503, b'{"message": "later"}'),
        Answered(429, b'{"message": "slower"}'),
    ]
    answers += [Answered(200, stream(2, end=True))]
    found, asked = watching(lambda _: answers.pop(0))
    assert (found, asked) == (["1", "2"], [None, "1", "1", "1"])


def test_events_when_nobody_answers_for_too_long_then_is_said():
    answers = [Answered(200, stream(1))]
    with pytest.raises(ServiceUnreachable):
        watching(lambda _: answers.pop(0) if answers else Answered(200, b"x", cut_after=0), patience_seconds=0)


def test_events_when_they_are_no_json_then_is_said():
    with pytest.raises(UnexpectedAnswer, match="JSON"):
        watching(lambda _: Answered(200, b"event: run\ndata: {\n\n"))


def test_log_when_lines_hold_strange_signs_then_only_newlines_end_them():
    text = "a\u2028b\x0cc\x85d\r\nüe\n\nlast"
    with scripted(lambda _: Answered(200, text.encode())) as service, Client(service.url) as client:
        assert list(client.runs.follow_logs(1)) == ["a\u2028b\x0cc\x85d", "üe", "", "last"]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"7", b"[]", b'{"success": true, "data": null}', b'{"success": true, "data": {"items": 3}}',
     b'{"success": true, "data": {"execution_id": 1, "status": "dancing", "reana_name": "a:1"}}'],
)  # fmt: skip
def test_answer_when_it_is_none_of_ours_then_is_said(body):
    with scripted(lambda _: Answered(200, body)) as service, Client(service.url) as client:
        with pytest.raises(UnexpectedAnswer):
            client.runs.get(1)
        with pytest.raises(UnexpectedAnswer):
            list(client.workflows.list())


def test_token_when_the_service_redirects_then_does_not_go_along():
    with (
        scripted(lambda _: Answered()) as victim,
        scripted(lambda _: Answered(307, headers={"Location": f"{victim.url}/whoami"})) as service,
        Client(service.url, GivenToken("t")) as client,
    ):
        with pytest.raises(UnexpectedAnswer, match=victim.url):
            client.whoami()
        assert victim.asked == []


def test_client_when_the_address_is_none_then_is_said():
    with pytest.raises(InvalidRequest, match="begins with"):
        Client("localhost:8000")
