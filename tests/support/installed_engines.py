"""Packages with engines, installed for the time of a test: a module beside the metadata that an installer leaves."""

import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stemma.engines.entry_points import GROUP


@contextmanager
def installed_engines(folder: Path, modules: Mapping[str, str], entries: Mapping[str, str]) -> Iterator[None]:
    """``modules`` by name with their source, and what the package says of its engines."""
    metadata = folder / f"engines_{uuid.uuid4().hex[:8]}-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {metadata.name.partition('-')[0]}\nVersion: 1\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in modules:
            sys.modules.pop(name, None)
