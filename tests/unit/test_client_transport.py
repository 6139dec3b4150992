"""The parts of the client that need no service: bodies, event streams, refusals, tokens."""

import json
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma import errors
from stemma.cli.credentials import Login, forget_login, load_login, save_login, shelf_of
from stemma.client import Attachment, FileShelf
from stemma.client.events import Sent, parse
from stemma.client.models import path_of
from stemma.client.multipart import Multipart
from stemma.client.problems import RateLimited, UnexpectedAnswer, problem
from stemma.client.tokens import KeptToken, PasswordTokens
from stemma.errors import EngineUnsuitable, Finding, InvalidDocument, InvalidRequest, StemmaError

plain_text = st.text(st.characters(min_codepoint=32, exclude_characters='"', exclude_categories=["Cs"]), max_size=40)


@given(st.dictionaries(st.sampled_from(["name", "version", "group"]), plain_text), st.lists(st.binary(max_size=200)))
def test_multipart_of_anything_when_read_back_then_is_the_same_and_as_long_as_announced(fields, contents):
    files = [("files", Attachment(f"file-{number}", content)) for number, content in enumerate(contents)]
    body = Multipart(fields, files)
    raw = b"".join(body)
    assert len(raw) == int(body.headers["Content-Length"])
    boundary = body.headers["Content-Type"].partition("boundary=")[2].encode()
    found = [part.partition(b"\r\n\r\n")[2][:-2] for part in raw.split(b"--" + boundary)[1:-1]]
    assert found == [text.encode() for text in fields.values()] + contents
    assert raw.endswith(b"--" + boundary + b"--\r\n")


def test_multipart_when_sent_twice_then_gives_the_same_bytes_and_reports_progress(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * 700_000)
    told = []
    body = Multipart(
        {"a": "b"}, [("files", Attachment.of_path(path))], lambda through, total: told.append((through, total))
    )
    assert b"".join(body) == b"".join(body)
    length = int(body.headers["Content-Length"])
    assert told[-1] == (length, length)
    assert max(len(chunk) for chunk in body) <= 1 << 18


@pytest.mark.parametrize("content", [b"shorter", b"longer than it was before"])
def test_multipart_when_a_file_changes_meanwhile_then_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(b"ten bytes!")
    body = Multipart({}, [("files", Attachment.of_path(path))])
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match="changed"):
        b"".join(body)


def test_multipart_names_when_they_hold_quotes_and_newlines_then_stay_one_header():
    body = Multipart({}, [("files", Attachment('a"b\r\nX-Evil: 1', b""))])
    assert b'filename="a%22b%0D%0AX-Evil: 1"' in b"".join(body)


def test_events_when_parsed_then_comments_are_skipped_and_unfinished_ones_dropped():
    stream = ["retry: 1000", "", ": nothing new", "", "id: 7", "event: step", "data: {", "data: }", "", "data: cut off"]
    assert list(parse(iter(stream))) == [Sent("step", "7", "{\n}")]


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3), max_size=8))
def test_events_of_any_content_when_parsed_then_are_what_was_sent(contents):
    lines = [
        line
        for number, content in enumerate(contents)
        for line in (f"id: {number}", "event: run", f"data: {json.dumps(content)}", "")
    ]
    found = list(parse(iter(lines)))
    assert [event.told for event in found] == contents
    assert [event.id for event in found] == [str(number) for number in range(len(contents))]


def every_class():
    found, pending = [], [StemmaError]
    while pending:
        kind = pending.pop()
        if kind.__name__ in errors.__all__:
            found.append(kind)
        pending += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_refusal_of_each_class_when_it_comes_over_the_wire_then_is_that_class(kind):
    error = problem(int(kind.status), kind.code, {"success": False, "message": "so it is", "data": None})
    assert type(error) is kind
    assert str(error) == "so it is"
    assert error.findings == ()


def test_refusal_with_findings_when_it_comes_over_the_wire_then_keeps_them():
    shown = [{"message": "no", "rule": "cwl/x", "file": "a.cwl", "line": 3, "column": 5, "parameter": None}]
    error = problem(422, "invalid-document", {"message": "the workflow is not valid", "data": shown})
    assert isinstance(error, InvalidDocument)
    assert error.findings == (Finding("no", "cwl/x", "a.cwl", 3, 5),)
    assert problem(422, "engine-unsuitable", {"message": "no", "data": shown}).exit_code == 33
    assert EngineUnsuitable.exit_code == 33


def test_refusal_without_a_known_code_when_read_then_its_status_decides():
    assert isinstance(problem(429, None, {"message": "slower"}), RateLimited)
    assert isinstance(problem(404, "of-a-later-version", {"message": "no"}), errors.NotFound)
    assert isinstance(problem(502, None, None), UnexpectedAnswer)
    assert isinstance(problem(502, None, {"detail": "from a proxy"}), UnexpectedAnswer)


@pytest.mark.parametrize(("key", "path"), [("a", "a"), ("a[1][2]/b", "a/b"), ("by_year[12]/x[0]/y", "by_year/x/y")])
def test_path_of_a_step_when_scattered_then_has_no_places(key, path):
    assert path_of(key) == path


def test_token_when_kept_then_is_found_by_the_next_and_by_its_owner_alone(tmp_path):
    shelf = FileShelf(tmp_path / "stemma" / "token.json")
    assert shelf.load() is None
    token = KeptToken("abc", time.time() + 1000, "def")
    shelf.keep(token)
    assert FileShelf(tmp_path / "stemma" / "token.json").load() == token
    assert (tmp_path / "stemma" / "token.json").stat().st_mode & 0o777 == 0o600
    tokens = PasswordTokens("http://127.0.0.1:9", shelf=shelf)
    assert tokens.access_token() == "abc"


def test_token_when_there_is_none_and_no_password_then_says_to_log_in():
    with pytest.raises(errors.NotAuthenticated, match="stemma login"):
        PasswordTokens("http://127.0.0.1:9", "user_1").access_token()


def test_shelf_when_damaged_then_is_as_if_empty(tmp_path):
    (tmp_path / "token.json").write_text('{"access_token": 1')
    assert FileShelf(tmp_path / "token.json").load() is None


def test_login_when_saved_then_is_found_until_it_is_forgotten(tmp_path):
    login, token = Login("https://example.org", "anna", "https://example.org/token", "api"), KeptToken("a", 1.0)
    save_login(tmp_path, login, token)
    assert load_login(tmp_path) == login
    assert shelf_of(tmp_path, login).load() == token
    assert shelf_of(tmp_path, Login("https://evil.example", "anna", "https://evil.example/token", "api")).load() is None
    assert forget_login(tmp_path)
    assert load_login(tmp_path) is None
    assert not forget_login(tmp_path)


def test_client_when_imported_then_loads_nothing_else_of_the_server():
    program = (
        "import sys, stemma.client; "
        "parts = {'.'.join(n.split('.')[:2]) for n in sys.modules if n.startswith('stemma.')}; "
        "print(sorted(parts - {'stemma.client'}))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "['stemma.errors', 'stemma.states']"
