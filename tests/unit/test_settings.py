"""Where settings come from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
