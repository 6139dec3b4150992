"""Tokens of the client: where they are got, how they are renewed, what an issuer may do wrong."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import pytest

from stemma.client import (
    ClientCredentials,
    DeviceTokens,
    FileShelf,
    GivenToken,
    KeptToken,
    KeptTokens,
    LoginRefused,
    MemoryShelf,
    NotLoggedIn,
    PasswordTokens,
    RateLimited,
    ServiceUnreachable,
    UnexpectedAnswer,
    UntrustedAddress,
    login_ways,
)
from stemma.client.addresses import origin, service_address, trusted
from stemma.errors import InvalidRequest, NotAuthenticated
from support.scripted_http import Answered, Asked, scripted


def answered(told, status=200):
    return Answered(status, json.dumps(told).encode(), {"Content-Type": "application/json"})


@contextmanager
def an_issuer(grant: Callable[[Asked], Answered], **told):
    """A service that names itself as the issuer and answers ``grant`` where tokens are got."""

    def answer(asked):
        if asked.path == "/login":
            ways = {"issuer": script.url, "client_id": "api", "token_url": f"{script.url}/token", **told}
            return answered({"success": True, "data": ways})
        return grant(asked)

    with scripted(answer) as script:
        yield script


def numbered(**more):
    """An issuer that gives tokens one, two, three …, with refresh tokens to match."""
    number = 0

    def grant(asked):
        nonlocal number
        number += 1
        return answered({"access_token": f"access{number}", "refresh_token": f"refresh{number}", **more})

    return grant


@pytest.mark.parametrize(
    ("told", "service"),
    [
        ("/auth/token", "http://lab:8000"),
        ("https://keycloak.example.org/realms/prov/token", "http://lab:8000"),
        ("http://lab:8000/elsewhere", "http://lab:8000"),
        ("http://localhost:8080/token", "http://127.0.0.1:8000"),
        ("http://[::1]:8080/token", "http://localhost"),
        ("http://keycloak.lab/token", "https://stemma.lab"),
    ],
)
def test_token_address_when_it_is_safe_or_trusted_then_is_taken(told, service):
    assert trusted(told, service, ["http://keycloak.lab"]) == (told if told[0] != "/" else f"{service}{told}")


@pytest.mark.parametrize(
    ("told", "service"),
    [
        ("http://evil.example/token", "https://stemma.lab"),
        ("http://lab:8001/token", "http://lab:8000"),
        ("http://localhost:8080/token", "https://stemma.lab"),
        ("http://localhost.evil.example/token", "http://localhost:8000"),
        ("http://keycloak.lab:81/token", "https://stemma.lab"),
    ],
)
def test_token_address_when_it_is_not_safe_then_is_refused_by_name(told, service):
    with pytest.raises(UntrustedAddress) as refused:
        trusted(told, service, ["http://keycloak.lab"])
    assert origin(told) in str(refused.value)


@pytest.mark.parametrize(
    "told",
    [
        None, 7, "", "token", "//evil.example/token", "ftp://lab/token", "file:///etc/passwd", "https://",
        "https://lab\\@evil.example/", "https://user@evil.example/", "https://lab:99999/", "https://lab/#x",
        "https://lab/a b", "https://lab/\n", "javascript:alert(1)", "https://" + "x" * 3000,
    ],
)  # fmt: skip
def test_token_address_when_it_is_none_then_is_refused(told):
    with pytest.raises(UnexpectedAnswer):
        trusted(told, "https://lab", ["https://evil.example"])


@pytest.mark.parametrize("url", ["", "lab:8000", "lab", "ftp://lab", "http://", "http://u:p@lab", "http://lab/?a=b"])
def test_service_address_when_it_is_none_then_is_refused(url):
    with pytest.raises(InvalidRequest):
        service_address(url)


def test_login_when_a_service_names_a_foreign_address_then_nothing_is_sent_there():
    with scripted(lambda _: Answered()) as victim:
        elsewhere = victim.url.replace("127.0.0.1", "untrusted.invalid")
        with an_issuer(numbered(), token_url=elsewhere) as service:
            with pytest.raises(UntrustedAddress):
                PasswordTokens(service.url, "user_1", "secret").access_token()
            assert [asked.path for asked in service.asked] == ["/login"]
            trusting = {"trusted_origins": [elsewhere]}
            assert login_ways(service.url, **trusting).token_url == elsewhere


def test_login_when_the_token_address_redirects_then_nothing_is_sent_on():
    with (
        scripted(lambda _: Answered()) as victim,
        an_issuer(lambda _: Answered(307, headers={"Location": victim.url})) as service,
    ):
        with pytest.raises(UnexpectedAnswer, match=victim.url):
            PasswordTokens(service.url, "user_1", "secret").access_token()
        assert victim.asked == []


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"access_token": 7}', b'{"access_token": ""}', b'{"access_token": "a\\r\\nX: y"}',
     b'{"access_token": "a", "token_type": "mac"}', b"[" * 100_000],
)  # fmt: skip
def test_login_when_the_issuer_answers_no_token_then_is_said(body):
    with an_issuer(lambda _: Answered(200, body)) as service, pytest.raises(UnexpectedAnswer):
        PasswordTokens(service.url, "user_1", "secret").access_token()


@pytest.mark.parametrize("lifetime", ["Infinity", '"1e400"', '"soon"', "-5", "null", "[]"])
def test_token_when_its_lifetime_is_nonsense_then_is_used_for_a_while(lifetime):
    body = f'{{"access_token": "a", "expires_in": {lifetime}}}'.encode()
    with an_issuer(lambda _: Answered(200, body)) as service:
        tokens = PasswordTokens(service.url, "user_1", "secret")
        assert tokens.access_token() == "a"
        assert 0 < tokens.current.renew_at - time.time() < 60


@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [
        (400, {"error": "invalid_grant", "error_description": "no"}, LoginRefused),
        (401, {"error": "unauthorized_client"}, LoginRefused),
        (400, {"detail": "from a proxy"}, UnexpectedAnswer),
        (404, None, UnexpectedAnswer),
        (429, {"message": "slower"}, RateLimited),
        (503, None, ServiceUnreachable),
    ],
)
def test_login_when_refused_then_says_how(status, told, kind):
    with an_issuer(lambda _: answered(told, status)) as service, pytest.raises(kind):
        PasswordTokens(service.url, "user_1", "secret").access_token()


def test_token_when_it_is_good_then_is_asked_for_once():
    with an_issuer(numbered(expires_in=900)) as service:
        tokens = PasswordTokens(service.url, "user_1", "secret")
        assert [tokens.access_token() for _ in range(3)] == ["access1"] * 3
        assert [asked.form.get("grant_type") for asked in service.asked] == [None, "password"]


def test_token_when_it_ends_then_is_renewed_by_the_newest_refresh_token():
    with an_issuer(numbered(expires_in=0)) as service:
        tokens = PasswordTokens(service.url, "user_1", "secret")
        assert [tokens.access_token() for _ in range(3)] == ["access1", "access2", "access3"]
        assert [asked.form.get("refresh_token") for asked in service.asked[2:]] == ["refresh1", "refresh2"]


def test_refresh_token_when_the_issuer_gives_no_new_one_then_is_used_on():
    def grant(asked):
        first = {"refresh_token": "kept"} if asked.form["grant_type"] == "password" else {}
        return answered({"access_token": "a", "expires_in": 0, **first})

    with an_issuer(grant) as service:
        tokens = PasswordTokens(service.url, "user_1", "secret")
        for _ in range(3):
            tokens.access_token()
        assert [asked.form.get("refresh_token") for asked in service.asked[2:]] == ["kept", "kept"]


def test_refresh_token_when_it_is_spent_then_the_password_is_used_or_the_login_has_ended():
    def grant(asked):
        if asked.form["grant_type"] == "refresh_token":
            return answered({"error": "invalid_grant"}, 400)
        return answered({"access_token": "fresh", "expires_in": 900})

    with an_issuer(grant) as service:
        spent = MemoryShelf()
        spent.keep(KeptToken("old", 0.0, "spent"))
        with pytest.raises(NotLoggedIn, match=f"log in again: stemma login {service.url}"):
            KeptTokens(service.url, shelf=spent).access_token()
        assert spent.load() is None
        spent.keep(KeptToken("old", 0.0, "spent"))
        assert PasswordTokens(service.url, "user_1", "secret", shelf=spent).access_token() == "fresh"


def test_login_when_the_issuer_is_silent_then_is_not_forgotten():
    with an_issuer(lambda _: answered(None, 503)) as service:
        shelf = MemoryShelf()
        shelf.keep(KeptToken("old", 0.0, "still good"))
        with pytest.raises(ServiceUnreachable):
            KeptTokens(service.url, shelf=shelf).access_token()
        assert shelf.load().refresh_token == "still good"


def test_token_when_refused_then_another_is_got_although_it_had_not_ended():
    with an_issuer(numbered(expires_in=900)) as service:
        tokens = PasswordTokens(service.url, "user_1", "secret")
        first = tokens.access_token()
        assert tokens.renew(first)
        assert tokens.access_token() == "access2"
        assert tokens.renew(first)  # of a thread that was slower
        assert tokens.access_token() == "access2"


def test_tokens_when_many_threads_ask_then_one_asks_the_issuer():
    with an_issuer(numbered(expires_in=900)) as service:
        tokens, found = PasswordTokens(service.url, "user_1", "secret"), []
        threads = [threading.Thread(target=lambda: found.append(tokens.access_token())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == ["access1"] * 8
        assert len(service.asked) == 2


PROCESS = """
import sys
from pathlib import Path
from stemma.client import FileShelf, KeptTokens
print(KeptTokens(sys.argv[1], shelf=FileShelf(Path(sys.argv[2]))).access_token())
"""


def test_tokens_when_two_processes_renew_at_once_then_one_refresh_token_is_used_once(tmp_path):
    """The issuer takes each refresh token once: used twice, the login would be over for both."""
    used = set()

    def grant(asked):
        token = asked.form["refresh_token"]
        if token in used:
            return answered({"error": "invalid_grant"}, 400)
        used.add(token)
        return answered({"access_token": f"after-{token}", "refresh_token": f"{token}x", "expires_in": 900})

    with an_issuer(grant) as service:
        path = tmp_path / "token.json"
        FileShelf(path).keep(KeptToken("old", 0.0, "r"))
        command = [sys.executable, "-c", PROCESS, service.url, str(path)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        assert [process.communicate()[0] for process in processes] == ["after-r\n"] * 3
        assert FileShelf(path).load().refresh_token == "rx"


def test_shelf_when_locked_then_others_wait(tmp_path):
    shelf, told = FileShelf(tmp_path / "token.json"), []

    def other():
        with FileShelf(tmp_path / "token.json").locked():
            told.append("other")

    with shelf.locked():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        told.append("first")
    thread.join()
    assert told == ["first", "other"]


def test_shelf_of_another_login_when_looked_at_then_is_empty(tmp_path):
    FileShelf(tmp_path / "token.json", "a").keep(KeptToken("of a", time.time() + 1000))
    assert FileShelf(tmp_path / "token.json", "b").load() is None
    assert FileShelf(tmp_path / "token.json", "a").load().access_token == "of a"
    assert (tmp_path / "token.json").stat().st_mode & 0o777 == 0o600


def test_program_when_it_logs_in_then_its_secret_goes_in_the_header_encoded():
    with an_issuer(numbered(expires_in=900)) as service:
        assert ClientCredentials(service.url, "a b", lambda: "s:ü%").access_token() == "access1"
        asked = service.asked[-1]
        assert asked.form == {"grant_type": "client_credentials", "scope": "openid"}
        assert base64.b64decode(asked.headers["authorization"].split()[1]) == b"a%20b:s%3A%C3%BC%25"


def test_secrets_when_shown_then_are_not():
    shown = repr(KeptToken("access", 0.0, "refresh")) + repr(GivenToken("given"))
    assert not any(secret in shown for secret in ("access'", "'refresh", "given'"))


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ü"])
def test_given_token_when_it_cannot_be_sent_then_is_refused(token):
    with pytest.raises(NotAuthenticated):
        GivenToken(token)


@contextmanager
def a_device_issuer(polls, **told):
    """An issuer with a device flow, that answers questions about it with ``polls``, one by one."""
    left = list(polls)

    def grant(asked):
        if asked.path == "/device":
            page = f"{service.url}/page"
            return answered({"device_code": "d", "user_code": "AB-CD", "verification_uri": page, **told})
        status, body = left.pop(0)
        return answered(body, status)

    with an_issuer(grant, device_authorization_url="/device") as service:
        yield service


PENDING = (400, {"error": "authorization_pending"})
TOKEN = (200, {"access_token": "a", "expires_in": 900})


def waited(service, **told):
    """Log in there; the pauses that were made, and the token."""
    pauses, prompts = [], []
    tokens = DeviceTokens(service.url, prompts.append, pause=pauses.append)
    return tokens.access_token(), pauses, prompts


def test_device_login_when_pending_and_too_quick_then_asks_on_and_slower():
    polls = [PENDING, (400, {"error": "slow_down"}), PENDING, (503, None), TOKEN]
    with a_device_issuer(polls, interval=2) as service:
        token, pauses, prompts = waited(service)
    assert (token, pauses) == ("a", [2, 2, 7, 7, 14])
    assert (prompts[0].code, prompts[0].url, prompts[0].whole_url) == ("AB-CD", f"{service.url}/page", None)


@pytest.mark.parametrize("error", ["expired_token", "access_denied", "invalid_grant"])
def test_device_login_when_it_ends_without_a_token_then_says_why(error):
    with a_device_issuer([PENDING, (400, {"error": error})]) as service, pytest.raises(LoginRefused) as refused:
        waited(service)
    assert refused.value.error == error


def test_device_login_when_its_time_is_over_then_nobody_is_asked_any_more():
    with a_device_issuer([], expires_in=0) as service, pytest.raises(LoginRefused, match="in time"):
        waited(service)


@pytest.mark.parametrize(
    "told",
    [
        {"verification_uri": "http://evil.example/page"},
        {"verification_uri_complete": "file:///etc/passwd"},
        {"user_code": "\x1b[2J"},
        {"user_code": "x" * 50},
        {"device_code": None},
        {"verification_uri": None},
    ],
)
def test_device_login_when_the_issuer_tells_nonsense_then_nobody_is_sent_anywhere(told):
    with a_device_issuer([TOKEN], **told) as service:
        prompts = []
        with pytest.raises((UntrustedAddress, UnexpectedAnswer)):
            DeviceTokens(service.url, prompts.append, pause=lambda _: None).access_token()
    assert prompts == []


@pytest.mark.parametrize("interval", [-1, 0, 10**9, "x", None])
def test_device_login_when_the_interval_is_nonsense_then_is_bounded(interval):
    with a_device_issuer([TOKEN], interval=interval) as service:
        assert 1 <= waited(service)[1][0] <= 60


def test_device_login_when_the_service_has_none_then_is_said():
    with an_issuer(numbered()) as service, pytest.raises(InvalidRequest, match="browser"):
        DeviceTokens(service.url, print).access_token()


def test_client_when_imported_then_loads_nothing_heavy():
    heavy = [
        "pydantic",
        "fastapi",
        "sqlalchemy",
        "sqlmodel",
        "cwltool",
        "rich",
        "click",
        "httpx",
        "typer",
        "anyio",
        "ssl",
    ]
    program = f"import sys, stemma.client; print([name for name in {heavy} if name in sys.modules])"
    environment = {"PATH": os.environ["PATH"]}  # noqa: TID251 - handed on
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
