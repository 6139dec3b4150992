"""Makes an upload of a local CWL file: the document alone, or a zip archive with everything it refers to."""

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stemma.cwl.archive import Limits, name_problem, pack
from stemma.cwl.nodes import Unreadable, decode, read
from stemma.cwl.references import NotLocal, Reference, ReferenceKind, finding_at, references, relative_path
from stemma.errors import Finding, InvalidDocument, TooLarge

_ZIP_NAME: Final = "bundle.zip"


@dataclass(frozen=True, slots=True)
class Upload:
    """What to send."""

    filename: str
    content: bytes
    main_path: str
    """The document to run: inside the archive, or ``filename`` itself where the document is alone."""


def collect(path: Path, limits: Limits | None = None) -> Upload:
    """What ``path`` is together with what it refers to, file by file (``run``, ``$import``, ``default`` …).

    The top of the archive is the deepest folder that holds them all. The same files give the same bytes.

    Raises:
        InvalidDocument: something cannot be read, is missing, or lies elsewhere than beside the document.
        TooLarge: it is over a limit.
        OSError: ``path`` itself cannot be read.
    """
    collection = _Collection(limits or Limits())
    main = Path(os.path.normpath(path.absolute()))
    collection.add_document(main, main.read_bytes())
    if collection.findings:
        raise InvalidDocument(collection.findings)
    if len(collection.contents) == 1:
        return Upload(main.name, collection.contents[main], main.name)
    return _archive(main, collection.contents)


def _archive(main: Path, contents: dict[Path, bytes]) -> Upload:
    root = Path(os.path.commonpath([file.parent for file in contents]))
    named = {file.relative_to(root).as_posix(): content for file, content in contents.items()}
    problems = [
        Finding(f"{name!r} {problem}; rename it", "bundle/unsafe-entry")
        for name in named
        if (problem := name_problem(name)) is not None
    ]
    if problems:
        raise InvalidDocument(problems)
    return Upload(_ZIP_NAME, pack(named), main.relative_to(root).as_posix())


class _Collection:
    """The files found so far, and what is wrong with them."""

    def __init__(self, limits: Limits) -> None:
        self.contents: dict[Path, bytes] = {}
        self.findings: list[Finding] = []
        self._limits = limits
        self._size = 0
        self._base: Path | None = None
        self._read_documents: set[Path] = set()

    def add_document(self, main: Path, content: bytes) -> None:
        """Add the main document and, document by document, what it refers to."""
        self._base = main.parent
        self._add(main, content)
        pending = [main]
        while pending:
            document = pending.pop()
            if document not in self._read_documents:
                self._read_documents.add(document)
                pending += self._follow(document)

    def _follow(self, document: Path) -> list[Path]:
        """Add what ``document`` refers to; the documents among it are returned."""
        shown, found = self._shown(document), []
        if len(self.contents[document]) > self._limits.document_bytes:
            raise TooLarge(f"the document {shown}", self._limits.document_bytes)
        try:
            tree = read(decode(self.contents[document], shown), shown)
        except Unreadable as error:
            self.findings.append(error.finding)
            return []
        for reference in references(tree):
            target = self._target(reference, document, shown)
            if target is not None and reference.kind.is_document:
                found.append(target)
        return found

    def _target(self, reference: Reference, document: Path, shown: str) -> Path | None:
        try:
            relative = relative_path(reference)
        except NotLocal as problem:
            self.findings.append(finding_at(reference.node, shown, problem.reason, problem.rule))
            return None
        target = Path(posixpath.normpath(document.parent / relative))
        try:
            if reference.kind is ReferenceKind.DIRECTORY:
                self._add_folder(target)
            elif target not in self.contents:
                self._add(target, self._content(target))
        except OSError as error:
            message = f"{reference.text!r} cannot be read: {error.strerror}"
            self.findings.append(finding_at(reference.node, shown, message, "cwl/missing-file"))
            return None
        return target

    def _add_folder(self, folder: Path) -> None:
        for file in sorted(folder.iterdir()):
            if file.is_dir():
                self._add_folder(file)
            elif file not in self.contents:
                self._add(file, self._content(file))

    def _content(self, file: Path) -> bytes:
        if file.stat().st_size > self._limits.bundle_bytes - self._size:
            raise TooLarge("the bundle", self._limits.bundle_bytes)
        return file.read_bytes()

    def _add(self, file: Path, content: bytes) -> None:
        self._size += len(content)
        if self._size > self._limits.bundle_bytes:
            raise TooLarge("the bundle", self._limits.bundle_bytes)
        if len(self.contents) >= self._limits.bundle_files:
            raise TooLarge("the bundle", self._limits.bundle_files, "files")
        self.contents[file] = content

    def _shown(self, file: Path) -> str:
        """How findings call a file: relative to the main document's folder, as its author knows it."""
        return os.path.relpath(file, self._base)
