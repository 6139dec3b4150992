"""Tokens that do not hold, whatever is wrong with them."""

import base64
import hmac
import json
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from stemma import clock
from stemma.auth import tokens
from stemma.auth.exposure import Exposed, check_exposure, is_loopback
from stemma.auth.local_issuer import (
    GrantRefused,
    LocalIssuer,
    Throttle,
    TooManyFailures,
)
from stemma.auth.tokens import Verifier
from stemma.errors import NotAuthenticated, Unavailable
from stemma.settings import Settings

ISSUER = "http://localhost:8000/auth"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})


class Keys:
    """A source that counts how often it was asked, and can be silent."""

    issuer = ISSUER

    def __init__(self, *keys: Any) -> None:
        self.keys, self.asked, self.is_silent = list(keys), 0, False

    def fetch(self) -> Sequence[dict[str, Any]]:
        self.asked += 1
        if self.is_silent:
            raise Unavailable("silent")
        return [dict(key.as_dict(private=False)) for key in self.keys]


def claims(**changed: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    whole = {
        "iss": ISSUER, "aud": "api", "sub": "s-1", "typ": "Bearer", "exp": now + 60, "iat": now,
        "preferred_username": "ada", "groups": ["group1", '/a/b "c" 🌧'], "realm_access": {"roles": ["reprov_user"]},
    }  # fmt: skip
    return {name: value for name, value in (whole | changed).items() if value is not ...}


def signed(key: Any = EC, header: dict[str, Any] | None = None, **changed: Any) -> str:
    algorithm = "RS256" if key is RSA else "ES256"
    return jwt.encode({"alg": algorithm, "kid": key.kid} | (header or {}), claims(**changed), key, [algorithm])


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.fixture
def keys() -> Keys:
    return Keys(RSA, EC)


@pytest.fixture
def verifier(keys: Keys) -> Verifier:
    return Verifier(keys)


@pytest.mark.parametrize("key", [RSA, EC])
def test_verify_when_all_is_well_then_says_who(verifier: Verifier, key: Any) -> None:
    principal = verifier.verify(signed(key))
    assert (principal.subject, principal.username) == ("s-1", "ada")
    assert principal.groups == ("group1", '/a/b "c" 🌧')
    assert principal.roles == {"reprov_user"}


def test_verify_when_it_is_an_access_token_by_its_header_then_accepts(verifier: Verifier) -> None:
    assert verifier.verify(signed(header={"typ": "at+jwt"}, typ=...)).subject == "s-1"


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1}, {"exp": ...}, {"exp": "soon"}, {"exp": True}, {"nbf": 9_999_999_999}, {"nbf": "x"},
        {"iss": "http://elsewhere/auth"}, {"iss": ...}, {"aud": "other"}, {"aud": ["other"]}, {"aud": ...},
        {"typ": "Refresh"}, {"typ": "ID"}, {"typ": ...}, {"sub": ...}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 300},
    ],
)  # fmt: skip
def test_verify_when_a_claim_does_not_fit_then_refuses(verifier: Verifier, changed: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        verifier.verify(signed(**changed))


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "....", "é.é.é", "x" * 200_000, f"{part([])}.e30.x"])
def test_verify_when_it_is_no_token_then_refuses(verifier: Verifier, keys: Keys, token: str) -> None:
    with pytest.raises(NotAuthenticated):
        verifier.verify(token)
    assert keys.asked == 0


def test_verify_when_nothing_is_signed_then_refuses(verifier: Verifier) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        with pytest.raises(NotAuthenticated):
            verifier.verify(f"{part({'alg': algorithm, 'kid': 'ec'})}.{part(claims())}.")


def test_verify_when_the_public_key_is_the_secret_then_refuses(verifier: Verifier) -> None:
    signed_part = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims())}"
    for public in (RSA.as_pem(private=False), RSA.as_der(private=False)):
        mac = hmac.digest(public, signed_part.encode(), "sha256")
        token = f"{signed_part}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        with pytest.raises(NotAuthenticated):
            verifier.verify(token)


def test_verify_when_the_payload_was_changed_then_refuses(verifier: Verifier) -> None:
    head, _, signature = signed().split(".")
    with pytest.raises(NotAuthenticated, match="signature"):
        verifier.verify(f"{head}.{part(claims(sub='s-2'))}.{signature}")


def test_verify_when_another_key_goes_by_a_known_name_then_refuses(verifier: Verifier) -> None:
    with pytest.raises(NotAuthenticated, match="signature"):
        verifier.verify(signed(ECKey.generate_key("P-256", {"kid": "ec"})))
    with pytest.raises(NotAuthenticated, match="signature"):
        verifier.verify(signed(ECKey.generate_key("P-256", {"kid": "rsa"})))


def test_verify_when_the_header_is_critical_or_odd_then_refuses(verifier: Verifier) -> None:
    odd = ({"crit": ["x"]}, {"kid": None}, {"kid": 3}, {"typ": ["JWT"]}, {"typ": {"a": 1}}, {"typ": 7})
    for header in ({"alg": "ES256", "kid": "ec"} | one for one in odd):
        with pytest.raises(NotAuthenticated):
            verifier.verify(f"{part(header)}.{part(claims())}.AAAA")


def test_verify_when_ten_thousand_keys_are_unknown_then_asks_once(verifier: Verifier, keys: Keys) -> None:
    for number in range(10_000):
        with pytest.raises(NotAuthenticated):
            verifier.verify(f"{part({'alg': 'ES256', 'kid': f'k{number}'})}.{part({})}.AAAA")
    assert keys.asked == 1


def test_verify_when_a_key_is_new_then_finds_it_after_a_while(
    verifier: Verifier, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier.verify(signed())
    fresh = ECKey.generate_key("P-256", {"kid": "fresh"})
    keys.keys = [fresh]
    with pytest.raises(NotAuthenticated):
        verifier.verify(signed(fresh))
    monkeypatch.setattr(tokens, "REFRESH_SECONDS", 0)
    assert verifier.verify(signed(fresh)).subject == "s-1"
    with pytest.raises(NotAuthenticated):  # the old key is withdrawn
        verifier.verify(signed(jti="another"))


def test_verify_when_the_issuer_is_silent_then_known_keys_go_on(
    verifier: Verifier, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.is_silent = True
    with pytest.raises(Unavailable):
        verifier.verify(signed())
    keys.is_silent = False
    monkeypatch.setattr(tokens, "REFRESH_SECONDS", 0)
    verifier.verify(signed())
    keys.is_silent = True
    assert verifier.verify(signed(jti="another")).subject == "s-1"
    with pytest.raises(NotAuthenticated):
        verifier.verify(signed(ECKey.generate_key("P-256", {"kid": "fresh"})))


def test_remembered_when_verified_then_until_it_expires(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed()
    assert verifier.remembered(token) is None
    verifier.verify(token)
    assert verifier.remembered(token) is not None
    assert verifier.remembered(token[:-4] + "AAAA") is None
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now().replace(year=now().year + 1))
    assert verifier.remembered(token) is None
    with pytest.raises(NotAuthenticated, match="expired"):
        verifier.verify(token)


def test_remembered_when_there_are_too_many_then_forgets_the_oldest(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED_TOKENS", 3)
    made = [signed(jti=str(number)) for number in range(5)]
    for token in made:
        verifier.verify(token)
    assert [verifier.remembered(token) is not None for token in made] == [False, False, True, True, True]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, home=tmp_path)


def test_grant_password_when_right_then_the_token_holds(settings: Settings) -> None:
    issuer = LocalIssuer(settings)
    principal = Verifier(issuer).verify(issuer.grant_password("user_4", "password_4").access_token)
    assert (principal.username, principal.groups) == ("user_4", ("group2",))
    assert principal.roles == {"reprov_user", "reprov_admin"}


def test_grant_refresh_when_given_the_wrong_kind_then_refuses(settings: Settings) -> None:
    issuer = LocalIssuer(settings)
    granted = issuer.grant_password("user_2", "password_2")
    assert issuer.grant_refresh(granted.refresh_token).access_token
    for token in (granted.access_token, granted.refresh_token[:-3] + "AAA", "", "x" * 100_000):
        with pytest.raises(GrantRefused):
            issuer.grant_refresh(token)
    with pytest.raises(NotAuthenticated):
        Verifier(issuer).verify(granted.refresh_token)


def test_grant_password_when_tried_too_often_then_even_the_right_one_waits(settings: Settings) -> None:
    issuer = LocalIssuer(settings)
    for number in range(10):
        with pytest.raises(GrantRefused):
            issuer.grant_password("user_1", f"guess {number}")
    with pytest.raises(TooManyFailures):
        issuer.grant_password("user_1", "password_1")
    assert issuer.grant_password("user_2", "password_2")


def test_throttle_when_time_has_passed_then_lets_in() -> None:
    throttle = Throttle(limit=1, window_seconds=0.0)
    throttle.note_failure("a")
    throttle.check("a")


MAKE_KEY = """
import json, sys
from pathlib import Path
from stemma.auth.local_issuer import LocalIssuer
from stemma.settings import Settings
settings = Settings(_env_file=None, home=Path(sys.argv[1]))
sys.stdin.readline()
print(json.dumps(LocalIssuer(settings).fetch()[0]))
"""


def test_key_when_several_processes_make_it_then_all_have_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE_KEY, str(tmp_path)]
    pipe = subprocess.PIPE
    making = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for process in making:  # all are loaded by the time that the first has its word
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    made = [json.loads(process.communicate(timeout=60)[0]) for process in making]
    assert len({key["kid"] for key in made}) == 1
    assert all("d" not in key for key in made)
    folder = tmp_path / "keys"
    assert [path.name for path in folder.iterdir()] == ["local-issuer.pem"]
    assert stat.S_IMODE((folder / "local-issuer.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_check_exposure_when_loopback_then_passes(tmp_path: Path, host: str) -> None:
    check_exposure(Settings(_env_file=None, home=tmp_path, host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "localhost.example.org", ""])
def test_check_exposure_when_others_could_reach_it_then_refuses(tmp_path: Path, host: str) -> None:
    check: Callable[[Settings], None] = check_exposure
    with pytest.raises(Exposed, match="STEMMA_HOST"):
        check(Settings(_env_file=None, home=tmp_path, host=host))
    assert not is_loopback(host)
