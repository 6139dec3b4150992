"""The registry of remotes: whose is found, what is sealed, and that the key can be changed; on each database."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from conftest import opened_installation
from stemma import clock
from stemma.auth.principal import Principal
from stemma.auth.sealing import Sealer
from stemma.database.queries import remotes as queries
from stemma.database.queries.audit import Wanted, entries
from stemma.engines.protocol import Owner
from stemma.errors import InvalidRequest, RemoteExists, RemoteNotFound, RemoteUnreadable, StemmaError, TooLarge
from stemma.lifecycle import remotes
from stemma.lifecycle.credentials import EngineCredentials
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.remotes import CredentialScope, Remote, find_remote, remotes_of, storage_for
from stemma.lifecycle.resealing import reseal
from stemma.settings import Settings
from support.databases import KINDS

SECRET = "geheim-4711-ganz"
S3 = {"bucket": "rain", "region": "eu-central-1"}
KEYS = {"access_key_id": SecretStr("AKIA"), "secret_access_key": SecretStr(SECRET)}
FIRST, SECOND = "k" * 40, "l" * 40


@pytest.fixture(scope="module", params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with opened_installation(request.param, tmp_path_factory.mktemp("remotes"), secret_key=FIRST) as opened:
        yield opened


@pytest.fixture
def person() -> Principal:
    """Somebody new, in a group of their own and in another."""
    name = clock.new_uuid().hex[-12:]
    return Principal(f"s-{name}", f"user-{name}", (f"a-{name}", f"b-{name}"))


def added(installation: Installation, by: Principal, name: str = "rain", group: str | None = None) -> Remote:
    return installation.remotes.add(by, name, "s3", S3, KEYS, group=group)


def with_key(installation: Installation, key: str, before: str | None = None) -> Settings:
    secrets = {"secret_key": SecretStr(key), "secret_keys_before": None if before is None else SecretStr(before)}
    return installation.settings.model_copy(update=secrets)


def test_find_when_several_are_there_then_one_s_own_first(installation: Installation, person: Principal) -> None:
    a, b = person.groups
    of_group = added(installation, person, group=a)
    assert installation.remotes.find(person, "rain").uuid == of_group.uuid
    own = added(installation, person)
    assert installation.remotes.find(person, "rain").uuid == own.uuid
    assert installation.remotes.find(person, "rain", scope=CredentialScope.GROUP).uuid == of_group.uuid
    assert installation.remotes.find(person, "rain", group=a).uuid == of_group.uuid
    of_other = added(installation, person, group=b)
    with pytest.raises(InvalidRequest, match="several of your groups"):
        installation.remotes.find(person, "rain", scope=CredentialScope.GROUP)
    assert installation.remotes.find(person, "rain", group=b).uuid == of_other.uuid
    assert [one.group for one in installation.remotes.known(person)] == [None, a, b]


def test_find_when_it_is_of_others_then_as_if_there_was_none(installation: Installation, person: Principal) -> None:
    added(installation, person)
    added(installation, person, group=person.groups[0])
    stranger = Principal("s-stranger", "stranger", ("c",))
    for attempt in ({}, {"scope": CredentialScope.GROUP}, {"group": person.groups[0]}):
        with pytest.raises(RemoteNotFound) as caught:
            installation.remotes.find(stranger, "rain", **attempt)
        assert str(caught.value) == "there is no remote 'rain'"


def test_add_when_the_name_is_taken_then_refused_and_nothing_is_replaced(
    installation: Installation, person: Principal
) -> None:
    first = added(installation, person)
    with pytest.raises(RemoteExists):
        added(installation, person)
    assert installation.remotes.find(person, "rain").uuid == first.uuid


def test_add_when_many_do_it_at_once_then_one_is_kept(installation: Installation, person: Principal) -> None:
    outcomes: list[StemmaError | Remote] = []

    def attempt() -> None:
        try:
            outcomes.append(added(installation, person))
        except StemmaError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [one for one in outcomes if isinstance(one, Remote)]
    assert len(kept) == 1
    assert [type(one) for one in outcomes if one is not kept[0]] == [RemoteExists] * 5
    assert installation.remotes.opened(installation.remotes.find(person, "rain")).secrets["access_key_id"] == "AKIA"


def test_add_when_there_are_as_many_as_may_be_then_refused(
    installation: Installation, person: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remotes, "MOST_REMOTES", 2)
    for name in ("one", "two"):
        added(installation, person, name)
    with pytest.raises(TooLarge, match="2 remotes"):
        added(installation, person, "three")
    added(installation, person, "three", group=person.groups[0])


def test_opened_when_asked_then_its_settings_and_secrets(installation: Installation, person: Principal) -> None:
    added(installation, person)
    opened = installation.remotes.opened(installation.remotes.find(person, "rain"))
    assert (opened.name, opened.kind, dict(opened.settings)) == ("rain", "s3", S3)
    assert dict(opened.secrets) == {"access_key_id": "AKIA", "secret_access_key": SECRET}
    assert SECRET not in repr(opened)


def test_change_when_credentials_alone_then_they_are_others_and_the_settings_stay(
    installation: Installation, person: Principal
) -> None:
    before = added(installation, person)
    fresh = {"access_key_id": SecretStr("AKIB"), "secret_access_key": SecretStr("other")}
    changed = installation.remotes.change(person, "rain", credentials=fresh)
    found = installation.remotes.find(person, "rain")
    assert (found.uuid, found.id > 0, dict(found.settings)) == (before.uuid, True, S3)
    assert found.updated_at == changed.updated_at > before.updated_at
    assert installation.remotes.opened(found).secrets["access_key_id"] == "AKIB"


def test_change_when_settings_alone_then_the_credentials_do_not_go_elsewhere(
    installation: Installation, person: Principal
) -> None:
    added(installation, person, group=person.groups[0])
    elsewhere = {**S3, "endpoint": "https://mine.example.org"}
    with pytest.raises(InvalidRequest, match="give the credentials anew"):
        installation.remotes.change(person, "rain", group=person.groups[0], settings=elsewhere)
    found = installation.remotes.find(person, "rain")
    assert dict(found.settings) == S3
    installation.remotes.change(person, "rain", group=person.groups[0], settings=elsewhere, credentials=KEYS)
    assert installation.remotes.find(person, "rain").settings["endpoint"] == "https://mine.example.org"


def test_remove_when_it_is_gone_then_so_are_its_credentials(installation: Installation, person: Principal) -> None:
    uuid = added(installation, person).uuid
    with installation.database.reading() as session:
        number = queries.find(session, person.subject, ())[0].id
        found = queries.get(session, number)
    assert found is not None
    assert found.uuid == uuid
    installation.remotes.remove(person, "rain")
    with installation.database.reading() as session:
        assert queries.get(session, number) is None
    for attempt in (installation.remotes.remove, installation.remotes.find):
        with pytest.raises(RemoteNotFound):
            attempt(person, "rain")


def test_database_when_looked_into_then_has_no_secret_and_the_audit_neither(
    installation: Installation, person: Principal
) -> None:
    name = f"rain-{person.username}"
    added(installation, person, name)
    installation.remotes.change(person, name, credentials={**KEYS, "session_token": SecretStr(SECRET)})
    with installation.database.reading() as session:
        rows = session.execute(text("SELECT * FROM remote")).all()
    installation.remotes.remove(person, name)
    written = entries(installation.database, Wanted(resource_kind="remote", resource_id=name))
    assert [entry.action for entry in written] == ["remote.add", "remote.change", "remote.delete"]
    assert SECRET not in f"{rows} {written} {[one.sealed for one in installation.remotes.known(person)]}"


def test_opened_when_a_row_has_the_seal_of_another_then_refused(installation: Installation, person: Principal) -> None:
    added(installation, person, "one")
    added(installation, person, "two")
    stolen = "SELECT sealed FROM remote WHERE name = 'one' AND owner = :owner"
    put = "UPDATE remote SET sealed = :sealed WHERE name = 'two' AND owner = :owner"
    with installation.database.transaction() as session:
        sealed = session.execute(text(stolen), {"owner": person.subject}).scalar()
        session.execute(text(put), {"owner": person.subject, "sealed": sealed})
    with pytest.raises(RemoteUnreadable, match="stemma remote login two"):
        installation.remotes.opened(installation.remotes.find(person, "two"))


def test_opened_when_the_key_was_changed_then_works_with_the_one_before_and_is_sealed_anew(
    installation: Installation, person: Principal
) -> None:
    remote = added(installation, person)
    later = remotes_of(with_key(installation, SECOND, FIRST), installation.database, installation.outgoing)
    assert later.opened(remote).secrets["secret_access_key"] == SECRET
    fresh = installation.remotes.find(person, "rain")
    assert fresh.sealed != remote.sealed
    assert fresh.updated_at == remote.updated_at
    alone = remotes_of(with_key(installation, SECOND), installation.database, installation.outgoing)
    assert alone.opened(fresh).secrets["secret_access_key"] == SECRET
    with pytest.raises(RemoteUnreadable):
        installation.remotes.opened(fresh)


def test_reseal_when_the_key_was_changed_then_everything_is_under_the_new_one(tmp_path: Path) -> None:
    person = Principal("s1", "user_1", ("group1",))
    with opened_installation("sqlite", tmp_path, secret_key=FIRST) as installation:
        added(installation, person)
        added(installation, person, group="group1")
        installation.remotes.add(person, "open", "https", {"url": "https://data.example.org/"}, {})
        installation.credentials.put(person, "reana", SecretStr("a-token"))
        settings = with_key(installation, SECOND, FIRST)
        done = reseal(settings, installation.database)
        assert (done.done, done.fine, done.lost) == (3, 0, ())
        again = reseal(settings, installation.database)
        assert (again.done, again.fine, again.lost) == (0, 3, ())
        alone = with_key(installation, SECOND)
        opened = remotes_of(alone, installation.database, installation.outgoing)
        assert [opened.opened(one).secrets.get("access_key_id") for one in opened.known(person)] == [
            None,
            "AKIA",
            "AKIA",
        ]
        found = EngineCredentials(alone, installation.database).find("reana", Owner("s1", "group1"))
        assert found == SecretStr("a-token")
        lost = reseal(with_key(installation, "m" * 40), installation.database)
        assert (lost.done, lost.fine) == (0, 0)
        assert sorted(lost.lost) == [
            "engine reana of person s1", "remote rain of group group1", "remote rain of person s1",
        ]  # fmt: skip


def test_engine_credentials_when_the_key_was_changed_then_are_sealed_anew_at_their_use(tmp_path: Path) -> None:
    person = Principal("s1", "user_1", ("group1",))
    with opened_installation("sqlite", tmp_path, secret_key=FIRST) as installation:
        installation.credentials.put(person, "reana", SecretStr("a-token"))
        settings = with_key(installation, SECOND, FIRST)
        owner = Owner("s1", "group1")
        assert EngineCredentials(settings, installation.database).find("reana", owner) == SecretStr("a-token")
        with installation.database.reading() as session:
            sealed = session.execute(text("SELECT sealed FROM engine_credential")).scalar()
        assert Sealer(settings).is_of_today(str(sealed), ("reana", "person", "s1"))


def test_find_remote_when_a_run_names_addresses_then_those_of_its_person_and_group(
    installation: Installation, person: Principal
) -> None:
    a, b = person.groups
    of_group = added(installation, person, group=a)
    with installation.database.reading() as session:
        found = find_remote(session, person.subject, a, "s3://rain/a.csv")
        assert found is not None
        assert found.uuid == of_group.uuid
        assert find_remote(session, person.subject, b, "s3://rain/a.csv") is None
        assert find_remote(session, "somebody", a, "s3://snow/a.csv") is None
        with pytest.raises(RemoteNotFound):
            find_remote(session, person.subject, a, "rclone:rain/a.csv")


def test_storage_for_when_the_run_is_of_others_then_refused(installation: Installation, person: Principal) -> None:
    own = added(installation, person)
    of_group = added(installation, person, group=person.groups[0])
    for remote in (own, of_group):
        with pytest.raises(RemoteNotFound):
            storage_for(installation, remote, "s3://rain/a.csv", Owner("somebody", "another"))


def test_storage_for_when_asked_again_then_the_same_until_it_is_changed(
    installation: Installation, person: Principal
) -> None:
    added(installation, person)
    owner = Owner(person.subject, person.groups[0])

    def opened() -> int:
        return id(storage_for(installation, installation.remotes.find(person, "rain"), "s3://rain/a.csv", owner))

    kept = storage_for(installation, installation.remotes.find(person, "rain"), "s3://rain/a.csv", owner)
    assert opened() == id(kept)
    elsewhere = remotes_of(installation.settings, installation.database, installation.outgoing)  # of another process
    elsewhere.change(person, "rain", credentials=KEYS)
    elsewhere.close()
    fresh = storage_for(installation, installation.remotes.find(person, "rain"), "s3://rain/a.csv", owner)
    assert fresh is not kept
