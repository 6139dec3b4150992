"""``stemma audit`` and what ``stemma db`` says of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from stemma import clock
from stemma.cli.main import main
from stemma.cli.settings import settings
from stemma.database.connection import Database
from stemma.database.queries import audit
from stemma.database.queries.audit import AuditEntry
from stemma.records import Person
from support.rows import ADA


@pytest.fixture
def chosen(database: Database, tmp_path, monkeypatch) -> Iterator[Database]:
    """The database that commands in this process work with."""
    monkeypatch.setenv("STEMMA_HOME", str(tmp_path))
    monkeypatch.setenv("STEMMA_DATABASE_URL", database.engine.url.render_as_string(hide_password=False))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield database
    settings.cache_clear()


def add(database: Database, hours_ago: float = 0, by: Person = ADA, action: str = "run.stop", **more: object) -> None:
    entry = AuditEntry(clock.now() - timedelta(hours=hours_ago), by, action, **more)
    database.write(lambda session: audit.add(session, entry))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["audit", "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_audit_when_asked_with_filters_then_prints_what_fits_the_newest_last(chosen, capsys):
    bob = Person("sub-bob", "bob")
    add(chosen, 50, action="workflow.register", resource_kind="workflow", resource_id="3", group="group1")
    add(chosen, 5, action="run.submit", resource_kind="run", resource_id="12", group="group1", address="192.0.2.7")
    add(chosen, 1, by=bob, action="run.delete", result="forbidden", status=403)
    for arguments, actions in (
        ([], ["workflow.register", "run.submit", "run.delete"]),
        (["--limit", "2"], ["run.submit", "run.delete"]),
        (["--limit", "0"], ["workflow.register", "run.submit", "run.delete"]),
        (["--since", "2d"], ["run.submit", "run.delete"]),
        (["--until", "300m", "--since", "1w"], ["workflow.register", "run.submit"]),
        (["--since", (datetime.now() - timedelta(hours=6)).isoformat()], ["run.submit", "run.delete"]),  # noqa: DTZ005 - without a zone
        (["--since", clock.isoformat(clock.now() - timedelta(hours=2))], ["run.delete"]),
        (["--user", "bob"], ["run.delete"]),
        (["--action", "run"], ["run.submit", "run.delete"]),
        (["--action", "run.submit"], ["run.submit"]),
        (["--group", "group1"], ["workflow.register", "run.submit"]),
        (["--resource", "run:12"], ["run.submit"]),
        (["--resource", "workflow"], ["workflow.register"]),
        (["--result", "refused"], ["run.delete"]),
        (["--result", "forbidden"], ["run.delete"]),
        (["--result", "done", "--limit", "1"], ["run.submit"]),
    ):
        assert [entry["action"] for entry in told(capsys, *arguments)] == actions, arguments
    [entry] = told(capsys, "--resource", "run:12")
    assert entry.pop("at") == clock.isoformat(clock.parse(str(told(capsys, "--resource", "run:12")[0]["at"])))
    assert entry.pop("id")
    assert entry == {
        "subject": "sub-ada", "username": "ada", "action": "run.submit", "resource_kind": "run", "resource_id": "12",
        "group": "group1", "address": "192.0.2.7", "result": "done", "status": None, "request": None,
    }  # fmt: skip


def test_audit_when_names_are_hostile_then_they_can_neither_steer_nor_pose(chosen, capsys):
    hostile = "x\x1b[2J\nada  run.delete\u202e\x9b"
    add(chosen, by=Person("sub-x", hostile), group="a b")
    assert main(["audit"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2
    assert all(sign.isprintable() or sign == "\n" for sign in printed)
    assert '"x\\\\x1b[2J\\\\nada  run.delete' in printed
    assert main(["audit", "--json"]) == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed)["username"] == hostile


@pytest.mark.parametrize(
    "arguments", [["--since", "yesterday"], ["--until", "9" * 30 + "w"], ["--follow", "--until", "1h"]]
)
def test_audit_when_a_time_is_none_then_says_so(chosen, capsys, arguments):
    assert main(["audit", *arguments]) == 64
    assert capsys.readouterr().out == ""


def test_audit_when_the_schema_is_older_then_says_what_to_do(chosen, capsys):
    with chosen.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert main(["audit"]) == 78
    assert "stemma db upgrade" in capsys.readouterr().err


def test_audit_when_followed_then_goes_on_with_what_is_new(chosen, tmp_path):
    add(chosen, 1, action="run.submit")
    add(chosen, action="run.stop")
    command = [sys.executable, "-m", "stemma.cli", "audit", "--follow", "--json", "--limit", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ, cwd=tmp_path) as following:  # noqa: TID251 - handed on
        try:
            assert following.stdout is not None
            assert json.loads(following.stdout.readline())["action"] == "run.stop"
            add(chosen, action="run.delete")
            assert json.loads(following.stdout.readline())["action"] == "run.delete"
        finally:
            following.kill()


def test_db_check_when_a_trigger_is_missing_then_warns_and_upgrade_puts_it_back(chosen, capsys):
    assert main(["db", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit_guarded"] is True
    with chosen.transaction() as session:
        session.execute(text("DROP TRIGGER audit_no_update"))
    assert main(["db", "check"]) == 0
    assert "the audit can be changed" in capsys.readouterr().err
    assert main(["db", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit_guarded"] is False
    assert main(["db", "upgrade"]) == 0
    assert main(["db", "check"]) == 0
    assert "the audit can be changed" not in capsys.readouterr().err
