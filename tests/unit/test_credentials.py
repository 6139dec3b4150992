"""Credentials for engines: whose is taken, kept sealed, on each database."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from conftest import opened_installation
from stemma import clock
from stemma.auth.principal import Principal
from stemma.database.queries.audit import Wanted, entries
from stemma.engines.protocol import Owner
from stemma.errors import CredentialNotFound, CredentialUnreadable, InvalidRequest
from stemma.lifecycle import credentials
from stemma.lifecycle.credentials import CredentialScope, EngineCredentials, credential_for
from stemma.lifecycle.installation import Installation
from support.databases import KINDS

FIRST = Principal("s1", "user_1", ("group1",))
SECOND = Principal("s2", "user_2", ("group1", "group2"))


@pytest.fixture(scope="module", params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("credentials")
    with opened_installation(request.param, folder, wes_token="for-all", secret_key="k" * 40) as opened:
        yield opened


@pytest.fixture
def engine() -> str:
    """A name that no other test has."""
    return f"e-{clock.new_uuid().hex[-12:]}"


def shown(installation: Installation, engine: str, principal: Principal, group: str = "group1") -> str | None:
    found = credential_for(installation, engine, Owner(principal.subject, group))
    return None if found is None else found.get_secret_value()


def put(installation: Installation, engine: str, by: Principal, token: str, group: str | None = None) -> None:
    installation.credentials.put(by, engine, SecretStr(token), group=group)


def test_find_when_several_are_there_then_the_nearest_is_taken(installation: Installation, engine: str) -> None:
    assert shown(installation, engine, FIRST) is None
    put(installation, engine, SECOND, "of-group-1", "group1")
    put(installation, engine, FIRST, "of-first")
    assert shown(installation, engine, FIRST) == "of-first"
    assert shown(installation, engine, SECOND) == "of-group-1"
    assert shown(installation, engine, SECOND, "group2") is None
    installation.credentials.remove(FIRST, engine)
    assert shown(installation, engine, FIRST) == "of-group-1"


def test_find_when_nobody_has_one_then_the_one_of_the_service(installation: Installation) -> None:
    assert shown(installation, "wes", FIRST) == "for-all"
    nobodys = credential_for(installation, "wes", None)
    assert nobodys == SecretStr("for-all")
    assert installation.credentials.is_for_all("wes")
    assert not installation.credentials.is_for_all("reana")


def test_put_when_there_was_one_then_it_is_replaced(installation: Installation, engine: str) -> None:
    put(installation, engine, FIRST, "before")
    put(installation, engine, FIRST, "  after \n")
    assert shown(installation, engine, FIRST) == "after"


def test_put_when_two_do_it_at_once_then_one_of_theirs_is_kept(installation: Installation, engine: str) -> None:
    threads = [
        threading.Thread(target=put, args=(installation, engine, by, f"of-{by.username}", "group1"))
        for by in (FIRST, SECOND) * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = shown(installation, engine, FIRST)
    assert kept in {"of-user_1", "of-user_2"}
    [known] = installation.credentials.known(FIRST)[engine]
    assert f"of-{known.set_by}" == kept


@pytest.mark.parametrize("token", ["", "   ", "two\nlines", "caf\u00e9", "\x00", "x" * (16 * 1024 + 1)])
def test_put_when_it_is_no_token_then_refused_without_repeating_it(
    installation: Installation, engine: str, token: str
) -> None:
    with pytest.raises(InvalidRequest, match="that is no token") as caught:
        put(installation, engine, FIRST, token)
    if token.strip():
        assert token not in f"{caught.value} {caught.value.findings}"
    assert shown(installation, engine, FIRST) is None


def test_remove_when_there_is_none_then_says_so(installation: Installation, engine: str) -> None:
    with pytest.raises(CredentialNotFound, match=f"no credential of yours for engine '{engine}'"):
        installation.credentials.remove(FIRST, engine)
    with pytest.raises(CredentialNotFound, match="of group 'group1'"):
        installation.credentials.remove(FIRST, engine, group="group1")


def test_known_when_asked_then_one_s_own_and_those_of_one_s_groups(installation: Installation, engine: str) -> None:
    put(installation, engine, SECOND, "1", "group1")
    put(installation, engine, SECOND, "2", "group2")
    put(installation, engine, SECOND, "3")
    put(installation, engine, FIRST, "4")
    found = [(known.scope, known.group, known.set_by) for known in installation.credentials.known(FIRST)[engine]]
    assert found == [(CredentialScope.PERSON, None, "user_1"), (CredentialScope.GROUP, "group1", "user_2")]
    groups = [known.group for known in installation.credentials.known(SECOND)[engine]]
    assert groups == [None, "group1", "group2"]


def test_database_when_looked_into_then_has_no_secret_and_the_audit_neither(
    installation: Installation, engine: str
) -> None:
    put(installation, engine, FIRST, "geheim-4711")
    put(installation, engine, SECOND, "geheim-4711", "group1")
    installation.credentials.remove(FIRST, engine)
    with installation.database.reading() as session:
        rows = session.execute(text("SELECT * FROM engine_credential")).all()
    written = entries(installation.database, Wanted(resource_kind="engine", resource_id=engine))
    assert "geheim" not in f"{rows} {written}"
    assert [(entry.by.username, entry.action, entry.group) for entry in written] == [
        ("user_1", "engine.login", None),
        ("user_2", "engine.login", "group1"),
        ("user_1", "engine.logout", None),
    ]


def test_find_when_a_row_is_another_s_then_it_cannot_be_opened(installation: Installation, engine: str) -> None:
    put(installation, engine, FIRST, "of-first")
    put(installation, engine, SECOND, "of-second")
    with installation.database.transaction() as session:
        query = "SELECT sealed FROM engine_credential WHERE engine = :engine AND owner = 's1'"
        stolen = session.execute(text(query), {"engine": engine}).scalar()
        change = "UPDATE engine_credential SET sealed = :sealed WHERE engine = :engine AND owner = 's2'"
        session.execute(text(change), {"engine": engine, "sealed": stolen})
    with pytest.raises(CredentialUnreadable):
        shown(installation, engine, SECOND)


def test_find_when_the_key_is_another_then_says_what_to_do(installation: Installation, engine: str) -> None:
    put(installation, engine, FIRST, "geheim-4711")
    put(installation, engine, SECOND, "geheim-4711", "group1")
    settings = installation.settings.model_copy(update={"secret_key": SecretStr("l" * 40)})
    other = EngineCredentials(settings, installation.database)
    with pytest.raises(CredentialUnreadable, match=f"STEMMA_SECRET_KEY.*stemma engine login {engine}") as caught:
        other.find(engine, Owner("s1", "group1"))
    assert "geheim" not in str(caught.value)
    assert "s1" not in str(caught.value)
    with pytest.raises(CredentialUnreadable, match="of group 'group1'"):
        other.find(engine, Owner("s3", "group1"))


def test_find_when_asked_again_then_the_database_is_left_alone_for_a_while(
    installation: Installation, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "BELIEVED_SECONDS", 3600.0)
    elsewhere = EngineCredentials(installation.settings, installation.database)  # as another process has it
    owner = Owner("s1", "group1")
    assert elsewhere.find(engine, owner) is None
    put(installation, engine, FIRST, "of-first")
    assert elsewhere.find(engine, owner) is None
    monkeypatch.setattr(credentials, "BELIEVED_SECONDS", 0.0)
    fresh = EngineCredentials(installation.settings, installation.database)
    assert fresh.find(engine, owner) == SecretStr("of-first")
    assert "of-first" not in repr(fresh.find(engine, owner))


def test_find_when_very_many_ask_then_what_is_believed_is_bounded(installation: Installation, engine: str) -> None:
    for number in range(1100):
        installation.credentials.find(engine, Owner(f"s{number}", "group1"))
    assert len(installation.credentials._believed) <= 1000


def test_sealer_when_nobody_has_a_credential_then_no_key_is_made(tmp_path: Path) -> None:
    with opened_installation("sqlite", tmp_path) as installation:
        assert shown(installation, "reana", FIRST) is None
        assert not (tmp_path / "keys" / "credentials.key").exists()
