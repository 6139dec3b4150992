"""Files that a tool finds in its folder (InitialWorkDirRequirement).

REANA's engine lays links to existing files down rightly in the job's own folder, and texts wrongly. So the wrapper
writes the texts, from quoted arguments, and the rest is left to the engine.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from stemma.engines.reana.prepare_graph import is_of_files, listed, members, short
from stemma.engines.reana.prepare_text import has_expression, parts
from stemma.engines.reana.refusals import Refusals
from stemma.engines.reana.wrapping import escaped
from stemma.records import Json

_REFERENCE: Final = re.compile(r"\$\(inputs\.(\w+)((?:\.\w+|\[[^\]]*\])*)\)")
_FILE_TEXTS: Final = frozenset(
    {
        ".path",
        ".location",
        ".basename",
        ".nameroot",
        ".nameext",
        ".dirname",
        ".size",
        ".checksum",
        ".contents",
        ".format",
    }
)
_MAKES_FILES: Final = re.compile(r"class['\"]?\s*:\s*['\"](?:File|Directory)['\"]")
_TEXT_TYPES: Final = frozenset({"string", "int", "long", "float", "double", "boolean"})
_FILE_FIELDS: Final = frozenset({"class", "basename", "contents"})


@dataclass(frozen=True, slots=True)
class Text:
    """A file that the wrapper writes; name and content are CWL strings."""

    name: str
    content: str
    may_be_nothing: bool = False
    may_be_a_file: bool = False
    """Whether only its value tells that it is a text: the job fails where it is none."""


@dataclass(slots=True)
class WorkDir:
    """What of it the wrapper does, and what the engine."""

    texts: list[Text] = field(default_factory=list)
    folders: list[Json] = field(default_factory=list)
    listing: list[Json] = field(default_factory=list)
    is_writable: bool = False


def work_dir(requirement: dict[str, Json] | None, inputs: list[Json], step: str, refusals: Refusals) -> WorkDir:
    """Divide the entries of a requirement."""
    found = WorkDir()
    types = {short(port["id"]): port["type"] for port in inputs}
    listing = requirement.get("listing") if requirement is not None else []
    if isinstance(listing, str):
        if _kind(listing.strip(), types) != "files":
            _refuse(step, refusals, "its whole list is an expression")
        found.listing.append(listing.strip())
    for entry in listed(listing) if not isinstance(listing, str) else []:
        _divide(entry, types, found, step, refusals)
    return found


def _divide(entry: Json, types: dict[str, Json], found: WorkDir, step: str, refusals: Refusals) -> None:
    if entry is None:
        return
    if isinstance(entry, str):
        if _kind(entry.strip(), types) != "files":
            _refuse(step, refusals, f"what {entry[:60]!r} gives is not known beforehand")
        found.listing.append(entry.strip())
    elif entry.get("class") == "File":
        _literal_file(entry, found, step, refusals)
    elif entry.get("class") == "Directory":
        if entry.get("listing") or "location" in entry or "basename" not in entry:
            _refuse(step, refusals, "it lays down a folder with files in it")
        found.folders.append(entry.get("basename"))
    elif "entry" in entry:
        _dirent(entry, types, found, step, refusals)
    else:
        _refuse(step, refusals, "an entry is no file, folder or text")


def _literal_file(entry: dict[str, Json], found: WorkDir, step: str, refusals: Refusals) -> None:
    if not _FILE_FIELDS.issuperset(entry) or "basename" not in entry or "contents" not in entry:
        _refuse(step, refusals, "it lays down a file that is no input")
        return
    found.texts.append(Text(escaped(str(entry["basename"])), escaped(str(entry["contents"]))))


def _dirent(entry: dict[str, Json], types: dict[str, Json], found: WorkDir, step: str, refusals: Refusals) -> None:
    content, name, is_writable = entry["entry"], entry.get("entryname"), bool(entry.get("writable"))
    kind = _kind(content, types)
    if kind == "files":
        _file_entry(entry, name, found, step, refusals)
        found.is_writable = found.is_writable or is_writable
    elif name is None:
        _refuse(step, refusals, "what is no input has no name of its own (entryname)")
    elif kind == "unclear" and _MAKES_FILES.search(str(content)):
        _refuse(step, refusals, "an expression makes a file or folder that is no input")
    else:
        found.texts.append(Text(name, content, kind != "text", kind == "unclear"))


def _file_entry(entry: dict[str, Json], name: Json, found: WorkDir, step: str, refusals: Refusals) -> None:
    if isinstance(name, str) and not has_expression(name) and ("/" in name.strip("/") or name.startswith("/")):
        _refuse(step, refusals, f"it lays an input down as {name!r}, in another folder")
    found.listing.append({**entry, "entry": str(entry["entry"]).strip()})


def _kind(text: Json, types: dict[str, Json]) -> str:
    """What an entry comes to: ``files``, ``text``, ``optional text``, or ``unclear``: only its value tells."""
    if not isinstance(text, str):
        return "unclear"
    pieces = list(parts(text))
    if len(pieces) != 1 or not pieces[0][0]:
        return "text"
    reference = _REFERENCE.fullmatch(text)
    if reference is None or reference[1] not in types:
        return "unclear"
    kind, rest = types[reference[1]], reference[2]
    others = [member for member in members(kind) if member != "null"]
    return _kind_of_part(rest, kind, others) if rest else _kind_of_whole(kind, others)


def _kind_of_whole(kind: Json, others: list[Json]) -> str:
    if is_of_files(kind):
        return "files"
    if not all(isinstance(member, str) and member in _TEXT_TYPES for member in others):
        return "unclear"
    return "text" if len(others) == len(list(members(kind))) else "optional text"


def _kind_of_part(rest: str, kind: Json, others: list[Json]) -> str:
    if others in (["File"], ["Directory"]):
        if rest in _FILE_TEXTS:
            return "text"
        return "files" if rest in {".listing", ".secondaryFiles"} else "unclear"
    return "files" if is_of_files(kind) and re.fullmatch(r"\[[^\]]*\]", rest) else "unclear"


def _refuse(step: str, refusals: Refusals, reason: str) -> None:
    refusals.add(step, "initial-work-dir", f"InitialWorkDirRequirement cannot be kept to on REANA: {reason}")
