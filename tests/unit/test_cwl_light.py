"""What the API imports of this package brings no CWL library with it."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["bundle", "collect", "helper", "inputs", "placeholders", "steps", "types"])
def test_import_when_the_api_does_it_then_no_cwl_library_comes_along(module):
    code = f"import stemma.cwl.{module}, sys; print([m for m in ('cwltool', 'schema_salad', 'cwl_utils', 'rdflib', 'requests') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
