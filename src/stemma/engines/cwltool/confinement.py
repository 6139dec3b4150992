"""What a run may read: its own folder, and the stored files that its job names. Nothing else, and no network.

cwltool reads files in four ways, and each is held here: documents through the fetcher, inputs and outputs
through the file access, what is staged for a tool through the path mapper, and what a link points to by its
real path.
"""

import os
import urllib.parse
from collections.abc import ItemsView, Iterable, MutableSequence
from typing import IO, Any
from urllib.request import url2pathname

from cwl_utils.types import CWLDirectoryType, CWLFileType
from cwltool.errors import WorkflowException
from cwltool.pathmapper import MapperEnt, PathMapper
from cwltool.stdfsaccess import StdFsAccess
from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import DefaultFetcher

from stemma.cwl.nodes import with_pairs_joined
from stemma.engines.cwltool.folder import AttemptFolder

LITERAL = "_:"
"""How the location of a file begins that exists as text alone."""


class OutsideTheRun(WorkflowException):  # type: ignore[misc,unused-ignore]  # the library's class, so that a step fails by it
    """A file was asked for that the run has no business with."""

    def __init__(self, location: str, *, is_link: bool = False) -> None:
        place = f"{without_folders(location)} {'leads to a place which lies' if is_link else 'lies'}"
        super().__init__(
            f"{place} outside the run: a step can read its inputs, the files of the document and what "
            "earlier steps made, nothing else"
        )
        self.location = location
        """All of it, as asked for: not for the people whose run it is, it may tell how this machine is laid out."""


class Confinement:
    """Which paths the run may read."""

    def __init__(self, folder: AttemptFolder) -> None:
        readable = (folder.bundle, folder.inputs, folder.tmp, folder.out)
        self._roots = tuple(f"{os.path.realpath(part)}/" for part in readable)
        self._stored: set[str] = set()

    def allow(self, paths: Iterable[str]) -> None:
        """Let stored files be read, each by its real path."""
        self._stored.update(paths)

    def real_path(self, location: str) -> str:
        """The real path of ``location`` (a path or a ``file:`` URL).

        Raises:
            OutsideTheRun: the run may not read it.
        """
        path = local_path(location)
        if path is None or not path.startswith("/"):
            raise OutsideTheRun(location)
        root = next((root for root in self._roots if path.startswith(root)), None)
        if root is not None and _has_no_links(path, len(root)):
            return path
        real = os.path.realpath(path)
        if real in self._stored or f"{real}/".startswith(self._roots):
            return real
        raise OutsideTheRun(location, is_link=real != os.path.normpath(path))


def local_path(location: str) -> str | None:
    """The local path that ``location`` names; None when it names none."""
    if location.startswith("/"):
        return location
    parts = urllib.parse.urlsplit(location)
    return url2pathname(parts.path) if parts.scheme == "file" else None


def without_folders(location: str) -> str:
    """``location`` as it may be told: what is on a disk by its name alone."""
    path = local_path(location)
    return location if path is None else os.path.basename(path.rstrip("/")) or "/"  # noqa: PTH119 - a location is no path


def _has_no_links(path: str, root_length: int) -> bool:
    """Whether no part of ``path`` below its root is a link or a step upwards: then it is its own real path."""
    parts = path[root_length:].split("/")
    if ".." in parts:
        return False
    current = path[: root_length - 1]
    for part in parts:
        current = f"{current}/{part}"
        if os.path.islink(current):  # noqa: PTH114 - called for every file many times; a Path costs more than the call
            return False
    return True


class ConfinedAccess(StdFsAccess):
    """cwltool's access to files."""

    def __init__(self, confinement: Confinement, basedir: str) -> None:
        super().__init__(basedir)
        self._confinement = confinement

    def _abs(self, p: str) -> str:
        path = super()._abs(p)
        if not p.startswith(LITERAL):
            self._confinement.real_path(path)
        return path

    def glob(self, pattern: str) -> list[str]:
        """The files that match, none of them above the folder that is looked in."""
        if ".." in pattern.split("/"):
            raise WorkflowException(f"the glob pattern {pattern!r} leads out of the step's folder")
        return super().glob(pattern)

    def listdir(self, fn: str) -> list[str]:
        """What lies in a folder, by name: the disk's own order differs from machine to machine."""
        return sorted(super().listdir(fn))

    def open(self, fn: str, mode: str) -> IO[Any]:
        """The file, for reading alone."""
        if set(mode) & set("wax+"):
            raise WorkflowException(f"{fn} is not to be written")
        return super().open(fn, mode)

    def realpath(self, path: str) -> str:
        """The real path; cheap for the folders that we made ourselves."""
        return self._confinement.real_path(path)


class ConfinedMapper(PathMapper):
    """cwltool's plan of which file a tool finds where."""

    def __init__(
        self,
        confinement: Confinement,
        referenced_files: MutableSequence[CWLFileType | CWLDirectoryType],
        basedir: str,
        stagedir: str,
        separateDirs: bool = True,  # noqa: N803 - the library's name
    ) -> None:
        self._confinement = confinement
        super().__init__(referenced_files, basedir, stagedir, separateDirs)

    def visit(
        self,
        obj: CWLFileType | CWLDirectoryType,
        stagedir: str,
        basedir: str,
        copy: bool = False,
        staged: bool = False,
    ) -> None:
        """Plan for one file, if the run may read it."""
        location = obj["location"]
        if not location.startswith(LITERAL):
            self._confinement.real_path(location)
        super().visit(obj, stagedir, basedir, copy, staged)

    def reversemap(self, target: str) -> tuple[str, str] | None:
        """Which file a tool found at ``target``, by our own place for it: the stored file may be several inputs."""
        found = super().reversemap(target)
        path = local_path(found[0]) if found is not None else None
        return (found[0], path) if found is not None and path is not None else found

    def items_exclude_children(self) -> ItemsView[str, MapperEnt]:
        """What is staged by itself, and not with the folder that it lies in.

        cwltool goes by where files come from alone, and so forgets a file that is given beside its own folder.
        """
        return {key: entry for key, entry in self.items() if not self._comes_with_folder(key, entry)}.items()

    def _comes_with_folder(self, key: str, entry: MapperEnt) -> bool:
        while (key := os.path.dirname(key)) and key != "/":  # noqa: PTH120 - a location is no path
            folder = self._pathmap.get(key)
            if folder is not None and entry.target.startswith(f"{folder.target}/"):
                return True
        return False


class BundleFetcher(DefaultFetcher):
    """cwltool's access to documents: the files of the bundle, and the schemas that are loaded already."""

    def __init__(self, bundle: str, cache: dict[str, Any], session: object = None) -> None:  # noqa: ARG002 - the caller's form
        super().__init__(cache, None)
        self._root = f"{os.path.realpath(bundle)}/"

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
        """The text of a file of the bundle.

        Raises:
            ValidationException: it is none.
        """
        if isinstance(self.cache.get(url), str):
            return super().fetch_text(url, content_types)
        if not self._is_inside(url):
            raise ValidationException(
                f"{without_folders(url)} is not a file of the registered document; nothing else is read"
            )
        return with_pairs_joined(super().fetch_text(url, content_types))

    def check_exists(self, url: str) -> bool:
        """Whether it is a file of the bundle."""
        return url in self.cache or (self._is_inside(url) and super().check_exists(url))

    def _is_inside(self, url: str) -> bool:
        path = local_path(url)
        return path is not None and os.path.realpath(path).startswith(self._root)
