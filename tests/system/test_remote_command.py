"""``stemma remote`` as people use it: real processes that ask a service, with a folder of this machine as the remote."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Served, opened_installation, served_installation
from stemma.auth.principal import Principal
from stemma.client import Attachment, Client, GivenToken
from stemma.errors import RemoteExists, RemoteNotFound, SourceNotFound
from stemma.lifecycle.remotes import Secrets
from support.terminal import Person, environment

SECRET = "geheim-4711-ganz"
FIRST, SECOND = "k" * 40, "l" * 40


def at_terminal(served: Served, folder: Path, name: str) -> Person:
    return Person(served, folder, name, "remote", secret=SECRET)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("remote-command") / "home"
    with (
        opened_installation("sqlite", home, file_roots=f"{root}:rw") as installation,
        served_installation(installation) as served,
    ):
        yield served


def kept(served: Served, username: str, name: str) -> dict[str, str]:
    """The secrets that the service would show there."""
    with served.client_as(username) as client:
        told = client.get("/whoami").json()["data"]
    principal = Principal(told["subject"], username, tuple(told["groups"]))
    remotes = served.installation.remotes
    return dict(remotes.opened(remotes.find(principal, name)).secrets)


S3 = ("--set", "bucket=rain", "--set", "region=eu-central-1")


def test_add_when_the_secrets_are_on_standard_input_then_kept_and_not_shown(service: Served, tmp_path: Path) -> None:
    person = at_terminal(service, tmp_path, "user_2")
    given = f"access_key_id=AKIA\nsecret_access_key={SECRET}\n"
    assert "s3-lines is registered" in person("add", "s3-lines", "s3", *S3, "--secret-stdin", given=given)[1]
    in_json = json.dumps({"access_key_id": "AKIA", "secret_access_key": SECRET})
    made = json.loads(person("add", "s3-json", "s3", *S3, "--secret-stdin", "--json", given=in_json)[0])
    assert (made["name"], made["has_credentials"]) == ("s3-json", True)
    wanted = {"access_key_id": "AKIA", "secret_access_key": SECRET}
    assert kept(service, "user_2", "s3-lines") == kept(service, "user_2", "s3-json") == wanted
    listed, _ = person("list")
    assert ["s3-lines", "s3", "you", "bucket=rain,", "region=eu-central-1", "sealed"] in map(
        str.split, listed.splitlines()
    )
    shown, _ = person("show", "s3-lines")
    assert "eu-central-1" in shown
    assert [one["name"] for one in json.loads(person("list", "--json")[0])] == ["s3-json", "s3-lines"]
    assert "there is a remote 's3-json' already" in person("add", "s3-json", "s3", *S3, code=73)[1]
    for name in ("s3-lines", "s3-json"):
        person("delete", name)
    assert "there is no remote 's3-json'" in person("show", "s3-json", code=66)[1]


def test_login_when_at_a_terminal_then_the_secrets_are_asked_for_and_replace_the_others(
    service: Served, tmp_path: Path
) -> None:
    person = at_terminal(service, tmp_path, "user_3")
    person("add", "rain", "s3", *S3, "--secret-stdin", given="access_key_id=A\nsecret_access_key=B")
    arguments = ("login", "rain", "--secret", "access_key_id", "--secret", "secret_access_key")
    shown = person.type_in(*arguments, typed=["AKIB", SECRET])
    assert "secret_access_key:" in shown
    assert SECRET not in shown
    assert "AKIB" not in shown
    assert kept(service, "user_3", "rain") == {"access_key_id": "AKIB", "secret_access_key": SECRET}


@pytest.mark.parametrize(
    ("arguments", "given", "told"),
    [
        (("add", "x", "s3", *S3, "--secret", f"secret_access_key={SECRET}"), "", "the field alone"),
        (("add", "x", "s3", *S3, "--secret", "secret_access_key"), SECRET, "--secret-stdin"),
        (("add", "x", "s3", *S3, "--secret-stdin"), f"{{{SECRET}", "no JSON"),
        (("add", "x", "s3", *S3, "--secret-stdin"), SECRET, "lines of FIELD=VALUE"),
        (("add", "x", "s3", *S3, "--secret-stdin"), f'{{"a": ["{SECRET}"]}}', "must be text"),
        (("add", "x", "s3", "--set", "bucket"), "", "--set FIELD=VALUE"),
        (("add", "x", "s3", *S3, "--set", "bucket=y"), "", "each once"),
        (("add", "x", "ftp", *S3), "", "kind"),
        (("add", "x", "s3", *S3, "--set", "colour=red"), "", "a name that none has"),
        (("login", "x"), "", "--secret FIELD"),
        (("get", "x"), "", "no REMOTE:PATH"),
        (("copy", "x:a", "x"), "", "no REMOTE:PATH"),
    ],
)
def test_commands_when_given_wrongly_then_say_why_and_not_the_secret(
    service: Served, tmp_path: Path, arguments: tuple[str, ...], given: str, told: str
) -> None:
    assert told in at_terminal(service, tmp_path, "user_2")(*arguments, given=given, code=64)[1]


def test_files_when_moved_about_then_arrive(service: Served, tmp_path: Path, root: Path) -> None:
    person = at_terminal(service, tmp_path, "user_4")
    place = root / "moved"
    place.mkdir()
    person("add", "data", "file", "--set", f"path={place}")
    assert "there is nothing on it yet" in person("test", "data")[1]
    file = tmp_path / "january.csv"
    file.write_bytes(os.urandom(700_000))
    assert "700.0 kB are at data:2014/january.csv" in person("put", str(file), "data:2014/")[1]
    done = json.loads(person("copy", "data:2014/january.csv", "data:b.csv", "--json")[0])
    assert done["size_bytes"] == 700_000
    assert [one["path"] for one in json.loads(person("ls", "data", "--json")[0])] == ["2014/january.csv", "b.csv"]
    assert person("ls", "data:2014")[0].split() == ["size", "path", "700.0", "kB", "january.csv"]
    assert "these are the first 1" in person("ls", "data", "--limit", "1")[1]
    fetched = tmp_path / "back" / "b.csv"
    person("get", "data:b.csv", "--output", str(fetched))
    assert fetched.read_bytes() == file.read_bytes()
    assert "can be read" in person("test", "data", "b.csv")[1]
    assert "data does not work" in person("test", "data", "none.csv", code=69)[1]
    assert json.loads(person("test", "data", "none.csv", "--json", code=69)[0])["works"] is False
    person("get", "data:none.csv", code=66)
    assert not (tmp_path / "none.csv").exists()
    shown = person.type_in("get", "data:b.csv", "--output", str(tmp_path / "once-more.csv"), typed=[])
    assert "fetching b.csv" in shown


def test_reseal_when_the_key_was_changed_then_the_older_one_can_go(tmp_path: Path) -> None:
    person = Principal("s1", "user_1", ("group1",))
    with opened_installation("sqlite", tmp_path, secret_key=FIRST) as installation:
        from pydantic import SecretStr

        secrets: Secrets = {"access_key_id": SecretStr("A"), "secret_access_key": SecretStr(SECRET)}
        installation.remotes.add(person, "rain", "s3", {"bucket": "rain"}, secrets)
        url = installation.settings.effective_database_url

    def run(code: int, key: str, before: str = "") -> str:
        more = {"STEMMA_SECRET_KEY": key, "STEMMA_SECRET_KEYS_BEFORE": before, "STEMMA_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", "stemma.cli", "remote", "reseal"],
            env=environment(tmp_path, STEMMA_DATABASE_URL=url, **more),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stderr

    assert "cannot be opened with any key that is set: remote rain of person s1" in run(1, SECOND)
    assert "1 sealed anew" in run(0, SECOND, FIRST)
    assert "0 sealed anew, 1 were already" in run(0, SECOND)


def test_client_when_used_by_a_program_then_typed_and_errors_are_those_of_the_service(
    service: Served, root: Path
) -> None:
    place = root / "program"
    place.mkdir()
    service.client_as("user_5").close()
    with Client(service.url, GivenToken(service.tokens["user_5"])) as client:
        made = client.remotes.add("data", "file", {"path": str(place)})
        assert (made.name, made.group, made.has_credentials) == ("data", None, False)
        with pytest.raises(RemoteExists):
            client.remotes.add("data", "file", {"path": str(place)})
        moved: list[tuple[int, int | None]] = []
        content = os.urandom(600_000)
        put = client.remotes.put("data", "a.bin", Attachment("a.bin", content), lambda *told: moved.append(told))
        assert (put.size_bytes, moved[-1]) == (600_000, (600_000, 600_000))
        told: list[tuple[int, int | None]] = []
        copied = client.remotes.copy(("data", "a.bin"), ("data", "b.bin"), lambda *at: told.append(at))
        assert copied.sha256 == put.sha256
        assert told[0] == (0, 600_000)
        target = io.BytesIO()
        back: list[tuple[int, int | None]] = []
        fetched = client.remotes.fetch("data", "b.bin", target, lambda *at: back.append(at))
        assert (target.getvalue(), fetched.sha256, back[-1]) == (content, put.sha256, (600_000, 600_000))
        assert [file.path for file in client.remotes.files("data").files] == ["a.bin", "b.bin"]
        tested = client.remotes.test("data")
        assert tested.works
        with pytest.raises(SourceNotFound):
            client.remotes.copy(("data", "none"), ("data", "c"))
        with pytest.raises(SourceNotFound):
            client.remotes.fetch("data", "none", target)
        client.remotes.delete("data")
        with pytest.raises(RemoteNotFound):
            client.remotes.get("data")
