"""Where settings come from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from stemma.auth.exposure import ExampleSecrets, Exposed, check_exposure
from stemma.database.connection import Database, DriverMissing
from stemma.settings import Settings


@pytest.mark.parametrize(("chosen", "found"), [(None, "8111"), ("other.env", "8222"), ("/dev/null", "8000")])
def test_settings_when_another_file_is_named_then_it_and_not_dot_env_is_read(
    tmp_path: Path, chosen: str | None, found: str
) -> None:
    (tmp_path / ".env").write_text("STEMMA_PORT=8111\n")
    (tmp_path / "other.env").write_text("STEMMA_PORT=8222\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STEMMA_")}  # noqa: TID251 - handed on
    named = {} if chosen is None else {"STEMMA_ENV_FILE": chosen}
    program = "from stemma.settings import Settings; print(Settings().port)"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=kept | named, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == found


def test_database_when_its_driver_is_not_installed_then_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(DriverMissing, match="pip install mysqlclient") as caught:
        Database("mysql+mysqldb://user:secret@prov-db/prov_db")
    assert "secret" not in str(caught.value)


def settings(**values: str) -> Settings:
    return Settings(_env_file=None, **values)


def test_check_exposure_when_others_can_reach_it_with_example_secrets_then_refuses() -> None:
    keycloak = {"keycloak_server_url": "http://prov-keycloak:8080/", "host": "0.0.0.0"}
    example = {"mysql_password": "example-password", "keycloak_admin_password": "admin"}
    check_exposure(settings(**keycloak, **example))
    for others in ({"public_url": "https://stemma.example.org"}, {"publish_address": "0.0.0.0"}):
        check_exposure(settings(**keycloak, **others, mysql_password="chosen"))
        with pytest.raises(ExampleSecrets, match="MYSQL_PASSWORD, KEYCLOAK_ADMIN_PASSWORD"):
            check_exposure(settings(**keycloak, **others, **example))
    with pytest.raises(Exposed):
        check_exposure(settings(host="0.0.0.0"))


@pytest.mark.parametrize(
    "url",
    [
        "https://reana.example.org", "https://reana.example.org:30443/", "http://localhost:30080", "http://127.0.0.1:5000",
        "http://[::1]:80", "http://10.1.2.3", "http://192.168.7.7:8080", "http://reana-server", "http://reana.svc",
        "http://reana.default.svc.cluster.local", "http://reana.lan/",
    ],
)  # fmt: skip
def test_settings_when_a_server_is_named_then_private_ones_may_speak_plain_http(url: str) -> None:
    assert settings(reana_server_url=url).reana_server_url == url.rstrip("/")
    assert settings(wes_url=url).wes_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://reana.example.org", "http://93.184.215.14", "http://[2606:2800:21f:cb07::1]", "ftp://reana.example.org",
        "reana.example.org", "https://", "https://me:geheim@reana.example.org", "https://reana.example.org/?token=geheim",
        "http://localhost.example.org", "http://10.1.2.3.example.org",
    ],
)  # fmt: skip
def test_settings_when_a_server_is_named_that_tokens_must_not_go_to_then_refused(url: str) -> None:
    for name in ("reana_server_url", "wes_url"):
        with pytest.raises(ValidationError) as caught:
            settings(**{name: url})
        assert "geheim" not in "".join(error["msg"] for error in caught.value.errors())


@pytest.mark.parametrize("token", ["two\nlines", "caf\u00e9", "  ", "nul\x00"])
def test_settings_when_a_token_cannot_stand_in_a_header_then_refused_without_telling_it(token: str) -> None:
    for name in ("reana_access_token", "wes_token"):
        with pytest.raises(ValidationError, match="characters that no token has") as caught:
            settings(**{name: token})
        assert token not in str(caught.value.errors()[0]["msg"])
    assert settings(reana_access_token=" abc \n").reana_access_token == SecretStr("abc")


def test_settings_when_hints_are_no_json_then_says_so_and_else_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMMA_REANA_HINTS", '{"kubernetes_memory_limit": "2Gi", "kubernetes_job_timeout": 600}')
    assert settings().reana_hints == {"kubernetes_memory_limit": "2Gi", "kubernetes_job_timeout": 600}
    for wrong in ("{", "[]", '{"a": {}}', '{"a": null}'):
        monkeypatch.setenv("STEMMA_REANA_HINTS", wrong)
        with pytest.raises(ValidationError, match="reana_hints"):
            settings()


def test_settings_when_values_are_empty_then_they_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REANA_SERVER_URL", "REANA_ACCESS_TOKEN", "STEMMA_WES_URL", "STEMMA_REANA_HINTS", "STEMMA_SECRET_KEY"):
        monkeypatch.setenv(name, "")
    found = settings()
    unset = (found.reana_server_url, found.reana_access_token, found.wes_url, found.secret_key)
    assert unset == (None, None, None, None)
    assert found.reana_hints == {}
    assert found.chosen_engine == "cwltool"


def test_settings_when_shown_then_no_secret_of_an_engine_is_seen() -> None:
    chosen = settings(reana_access_token="geheim-1", wes_token="geheim-2", secret_key="geheim-" * 5)
    assert "geheim" not in f"{chosen!r} {chosen} {chosen.model_dump_json()}"
