"""Imports go one way, and the faces stay light."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_imports_when_checked_keep_the_layers() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["stemma.api.app", "stemma.worker.loop", "stemma.client", "stemma.cli.main"])
@pytest.mark.parametrize("heavy", ["cwltool", "schema_salad", "cwl_utils", "prov", "alembic"])
def test_module_when_imported_loads_nothing_heavy(module: str, heavy: str) -> None:
    code = f"import {module}, sys; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
