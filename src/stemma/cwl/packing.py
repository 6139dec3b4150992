"""A whole bundle as one JSON object, for engines that take a workflow in one piece.

Imports cwltool; for the checking process alone.
"""

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

from cwltool.context import LoadingContext
from cwltool.errors import WorkflowException
from cwltool.load_tool import fetch_document
from cwltool.pack import pack as cwltool_pack
from schema_salad.exceptions import SchemaSaladException
from schema_salad.utils import yaml_no_ts

from stemma.cwl.bundle import Bundle
from stemma.cwl.documents import Documents
from stemma.cwl.fetching import BundleFiles, bundle_name, bundle_url
from stemma.errors import Finding
from stemma.records import Json

_PLACES: Final = ("location", "path")
_SPOILING: Final = re.compile(r"(?:^|[\s\[{,:-])\*[^\s\[\]{},]|^[{\s]*[\"']?id[\"']?\s*:", re.MULTILINE)
_DOCUMENTS: Final = (".cwl", ".yml", ".yaml", ".json")
_MAIN: Final = "#main"


class Unpackable(Exception):
    """The bundle cannot be written as one object."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class _Packable(BundleFiles):
    """The files of a bundle as cwltool's packing can take them: it spoils what YAML's aliases share, and fails at a
    document whose process has an ``id`` of its own.
    """

    def text(self, url: str) -> str:
        """The text of a file; as JSON where something had to change."""
        text = super().text(url)
        if not url.endswith(_DOCUMENTS) or _SPOILING.search(text) is None:
            return text
        document = _plain(yaml_no_ts().load(text), "")
        if isinstance(document, dict) and "class" in document:
            document.pop("id", None)
        return json.dumps(document)


def pack(bundle: Bundle, documents: Documents) -> dict[str, Json]:
    """The main document of ``bundle`` with all that it runs, which was loaded before without a finding.

    A ``$graph`` whose main process is ``#main``, or a single object where everything stands in one: ``#main`` for a
    workflow; a tool keeps the name that its one step has in the record. A file of the bundle (a default, a schema)
    is named by its path in the bundle, without a scheme.

    Raises:
        Unpackable: its documents are of several CWL versions, or cwltool cannot bring them together.
    """
    _refuse_mixed_versions(documents)
    context = LoadingContext(
        {
            "fetcher_constructor": _Packable(bundle.files).fetcher(),
            "disable_js_validation": True,
            "skip_schemas": True,
            "doc_cache": False,
        }
    )
    try:
        context, _, url = fetch_document(bundle_url(bundle.main_path), context)
        packed = _plain(cwltool_pack(context, url), "")
    except (SchemaSaladException, WorkflowException, KeyError, TypeError, ValueError) as error:
        message = "the documents cannot be written as one, as this engine takes them; run it on another engine"
        raise Unpackable(Finding(message, "cwl/unpackable", documents.main_file, 1, 1)) from error
    packed = _with_imports(packed, dict(_named(packed)))
    processes = packed["$graph"]
    if len(processes) > 1:
        return dict(packed)
    only: dict[str, Json] = processes[0]
    if only["class"] != "Workflow":
        only = _renamed(only, _MAIN, f"#{_tool_name(bundle.main_path)}", "")
    return {**only, **{key: value for key, value in packed.items() if key != "$graph"}}


def _refuse_mixed_versions(documents: Documents) -> None:
    versions = dict(_versions(documents))
    if len(set(versions.values())) > 1:
        said = ", ".join(f"{file} is {version}" for file, version in sorted(versions.items()))
        place = documents.trees[documents.main_file].get("cwlVersion")
        raise Unpackable(
            Finding(
                f"the documents are of several CWL versions ({said}), and this engine takes them in one piece;"
                " give them one version, or run it on another engine",
                "cwl/mixed-versions",
                documents.main_file,
                place.line if place is not None else 1,
                place.column if place is not None else 1,
            )
        )


def _versions(documents: Documents) -> Iterator[tuple[str, str]]:
    for file, tree in documents.trees.items():
        version = tree.get("cwlVersion")
        if version is not None:
            yield file, str(version.scalar).rpartition("#")[2].removeprefix("cwl:")


def _tool_name(main_path: str) -> str:
    """What the only step of a document that is a tool is called (see ``stemma.cwl.structure``)."""
    file, _, fragment = main_path.partition("#")
    return fragment or PurePosixPath(file).stem


def _renamed(value: Json, old: str, new: str, key: str) -> Json:
    """A process with another identifier, everything below it as well."""
    if isinstance(value, dict):
        return {name: entry if name == "default" else _renamed(entry, old, new, name) for name, entry in value.items()}
    if isinstance(value, list):
        return [_renamed(entry, old, new, key) for entry in value]
    if key in {"id", "name", "type", "items", "symbols"} and isinstance(value, str):
        return new + value[len(old) :] if value == old or value.startswith(f"{old}/") else value
    return value


def _named(value: Json) -> Iterator[tuple[str, Json]]:
    """Everything with an identifier."""
    if isinstance(value, dict):
        for field in ("id", "name"):
            if isinstance(value.get(field), str):
                yield value[field], value
        for entry in value.values():
            yield from _named(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _named(entry)


def _with_imports(value: Json, named: dict[str, Json]) -> Json:
    """``value`` with what cwltool's packing writes once, and refers to elsewhere, written everywhere."""
    if isinstance(value, dict):
        imported = named.get(value.get("$import", "")) if len(value) == 1 else None
        return {key: _with_imports(entry, named) for key, entry in (value if imported is None else imported).items()}
    if isinstance(value, list):
        return [_with_imports(entry, named) for entry in value]
    return value


def _plain(value: Any, key: str) -> Json:
    """What JSON can say, without ruamel's classes and without addresses that exist only here."""
    if isinstance(value, dict):
        named = {str(name): _plain(entry, str(name)) for name, entry in value.items()}
        if named.get("class") in {"File", "Directory"} and "path" in named:
            named.setdefault("location", named.pop("path"))
        return named
    if isinstance(value, list):
        return [_plain(entry, key) for entry in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    text = str(value)
    return (bundle_name(text) or text) if key in {*_PLACES, "$schemas"} else text
