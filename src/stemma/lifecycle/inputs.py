"""The input object of a run: every file in it becomes an occurrence of a content that the store holds."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlmodel import Session

from stemma import clock
from stemma.cwl.filereferences import FileReference, SourceKind, is_sha1
from stemma.database.queries import contents
from stemma.database.queries.archive import address_of
from stemma.database.queries.demand import Sought
from stemma.errors import FileNotFound, Finding, InvalidInputs, PlaceholderNotFound
from stemma.file_fields import OCCURRENCE
from stemma.lifecycle.sources import Looked, as_tree, placeholder, source_of, told_by
from stemma.lifecycle.sources import Place as SourcePlace
from stemma.lifecycle.staging import CHECKSUM_PREFIX, SOURCE
from stemma.records import Content, FileKind, Json, Occurrence

if TYPE_CHECKING:
    from stemma.storages.protocol import SourceInfo


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the input object a value is."""

    port: str
    position: str = ""
    parent: UUID | None = None

    def below(self, suffix: str, parent: UUID | None = None) -> "Place":
        """A place inside this one."""
        return Place(self.port, self.position + suffix, parent or self.parent)


@dataclass(slots=True)
class InputFiles:
    """Finds the content of each file that an input object names, and makes the occurrences.

    ``uploads`` are the files sent along, by the names that the input object calls them by; ``bundle`` the
    files of the workflow's own bundle, which a registered template may name; ``literals`` the contents of texts;
    ``looked`` what addresses lead to. Nothing is stored here: others wait meanwhile to write to the database.
    """

    session: Session
    groups: Collection[str]
    """The caller's."""
    group: str
    """The workflow's."""
    given: Collection[str]
    """The inputs that the caller gave. What the workflow names by itself is looked for in its own group alone: whoever
    wrote it is not to reach, through the hands of a caller who is in another group too, what lies there."""
    uploads: Mapping[str, Content]
    bundle: Mapping[str, Content]
    literals: Mapping[str, Content] = field(default_factory=dict)
    looked: Mapping[SourcePlace, Looked] = field(default_factory=dict)
    """What is elsewhere, by its place."""
    is_archived: Callable[[Content], bool] = lambda _: False
    """Whether a content that the caller may have lies in the archive and not in the store."""
    sent_ports: Collection[str] = ()
    """The inputs whose files are brought here in any case, although the engine's server could read them itself."""
    sha1: Mapping[str, str] | None = None
    """Of the files of this service that inputs give it for, by their SHA-256; None to find out which these are."""
    asked_sha1: list[Content] = field(default_factory=list)
    subject: str = ""
    """The caller's, whose places elsewhere what they gave may lie in."""
    sought: list[Sought] = field(default_factory=list)
    """The files that have to be brought here."""
    occurrences: list[Occurrence] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def resolve(self, inputs: Mapping[str, Json]) -> dict[str, Json]:
        """``inputs`` in the form that is recorded: Files with ``basename``, ``size``, ``checksum``, occurrence.

        Raises:
            InvalidInputs: files are named that were not sent.
            PlaceholderNotFound, FileNotFound: files of this service are named that do not exist for the caller.
        """
        resolved = {port: self._value(value, Place(port)) for port, value in inputs.items()}
        if self.findings:
            raise InvalidInputs(self.findings)
        return resolved

    def _value(self, value: Json, place: Place) -> Json:
        if isinstance(value, list):
            return [self._value(element, place.below(f"[{index}]")) for index, element in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if value.get("class") == "File":
            return self._file(value, place)
        if value.get("class") == "Directory":
            return self._directory(value, place)
        return {key: self._value(element, place.below(f".{key}")) for key, element in value.items()}

    def _file(self, value: dict[str, Any], place: Place) -> Json:
        source = FileReference(place.port, place.position, value).source
        match source.kind:
            case SourceKind.ENTITY:
                return self._from_entity(value, place, int(source.text), placeholder(source.text))
            case SourceKind.CONTENT:
                content = contents.held_by(self.session, source.text, self._groups(place))
                self._compare(value, place, content)
                return self._occurrence(value, place, content, source.text)
            case SourceKind.LITERAL:
                content = self.literals[source.text]
                return self._occurrence(value, place, content, content.sha256)
            case SourceKind.UPLOAD:
                return self._sent(value, place, source.text)
            case SourceKind.PLATFORM | SourceKind.REMOTE:
                return self._from_elsewhere(value, place)
            case _:
                raise AssertionError(f"a File has no {source.kind}")

    def _groups(self, place: Place) -> Collection[str]:
        return self.groups if place.port in self.given else (self.group,)

    def _sent(self, value: dict[str, Any], place: Place, named: str) -> Json:
        content = self.uploads.get(named) or self.bundle.get(named)
        if content is None:
            message = (
                f"input {place.port!r} names the file {named!r}, which was not sent along; upload it under that name"
            )
            self.findings.append(Finding(message, "inputs/file-not-sent"))
            return value
        return self._occurrence(value, place, content, named)

    def _from_entity(self, value: dict[str, Any], place: Place, number: int, written: str) -> dict[str, Json]:
        try:
            file = contents.file(self.session, number, self._groups(place))
        except FileNotFound as error:
            raise PlaceholderNotFound(place.port, written) from error
        if file.content is None:
            raise PlaceholderNotFound(place.port, written)
        self._compare(value, place, file.content)
        return self._occurrence(value, place, file.content, file.basename, derived_from=(file.uuid,))

    def _compare(self, value: dict[str, Any], place: Place, content: Content) -> None:
        """Whether a file of this service has the digest that is expected of it. It is not read here: others wait."""
        expected = FileReference(place.port, place.position, value).expected
        if expected is None:
            return
        if self.sha1 is None and is_sha1(expected):
            self.asked_sha1.append(content)
            return
        digest = (self.sha1 or {}).get(content.sha256) if is_sha1(expected) else content.sha256
        what = f"input {place.port!r}{place.position}"
        if digest is None:
            message = (
                f"{what} is a file of this service with {content.size_bytes} bytes: too many to find out its SHA-1 "
                f"while you wait; give it sha256:{content.sha256}, by which it is known, if it is that one"
            )
            self.findings.append(Finding(message, "inputs/digest-unknown"))
        elif digest != expected:
            message = f"{what} is not what was expected: its digest is {digest}, not {expected}"
            self.findings.append(Finding(message, "inputs/digest-mismatch"))

    def _from_elsewhere(self, value: dict[str, Any], place: Place) -> Json:
        reference = FileReference(place.port, place.position, value)
        looked = self.looked[self._source_place(reference)]
        if looked.number is None:
            return self._late(value, place, looked, looked.info, reference.expected)
        recorded = self._from_entity(value, place, looked.number, placeholder(reference.source.text))
        return {**recorded, SOURCE: looked.source} if looked.source else recorded

    def _source_place(self, reference: FileReference) -> SourcePlace:
        return SourcePlace.of(reference, self.subject if reference.port in self.given else "")

    def _late(
        self, value: dict[str, Any], place: Place, looked: Looked, info: "SourceInfo | None", expected: str | None
    ) -> dict[str, Json]:
        """A file that is brought when it is needed: what it holds is known then."""
        assert info is not None  # noqa: S101 - for the type checker: it was looked at as a file
        basename = str(value.get("basename") or info.basename)
        recorded = self._recorded(value, place, basename, None)
        uuid = UUID(recorded[OCCURRENCE])
        told, source = told_by(info), {**source_of(info), **looked.source}
        self.sought.append(
            Sought(
                uuid,
                info.address,
                info.version,
                told,
                info.size_bytes,
                looked.remote_id,
                looked.remote,
                expected,
                source,
                # What must have a digest is read here: nobody else would compare it.
                by_url=looked.by_url and expected is None and place.port not in self.sent_ports,
            )
        )
        size = {} if info.size_bytes is None else {"size": info.size_bytes}
        return {**recorded, **size, SOURCE: source}

    def _occurrence(
        self,
        value: dict[str, Any],
        place: Place,
        content: Content,
        named: str,
        *,
        derived_from: tuple[UUID, ...] = (),
    ) -> dict[str, Json]:
        basename = str(value.get("basename") or named.rsplit("/", 1)[-1])
        recorded = self._recorded(value, place, basename, content, derived_from)
        if self.is_archived(content):
            return self._brought_back(recorded, content)
        return {**recorded, "size": content.size_bytes, "checksum": f"{CHECKSUM_PREFIX}{content.sha256}"}

    def _brought_back(self, recorded: dict[str, Json], content: Content) -> dict[str, Json]:
        """A file of this service that the store let go: the archive gives it when it is needed."""
        address, digest = address_of(content.sha256), content.sha256
        self.sought.append(
            Sought(
                UUID(str(recorded[OCCURRENCE])),
                address,
                digest,
                {"sha256": digest},
                content.size_bytes,
                expected=digest,
                source={"url": address},
            )
        )
        return {**recorded, "size": content.size_bytes}

    def _recorded(
        self,
        value: dict[str, Any],
        place: Place,
        basename: str,
        content: Content | None,
        derived_from: tuple[UUID, ...] = (),
    ) -> dict[str, Json]:
        """The object that stands for a file, without what it holds."""
        uuid = clock.new_uuid()
        self.occurrences.append(
            Occurrence(
                uuid=uuid,
                kind=FileKind.FILE,
                basename=basename,
                port=place.port,
                position=place.position,
                content=content,
                parent=place.parent,
                derived_from=derived_from,
            ),
        )
        recorded: dict[str, Json] = {"class": "File", "basename": basename, OCCURRENCE: str(uuid)}
        if "format" in value:
            recorded["format"] = value["format"]
        if value.get("secondaryFiles"):
            recorded["secondaryFiles"] = self._members(value["secondaryFiles"], place, ".secondaryFiles", uuid)
        return recorded

    def _directory(self, value: dict[str, Any], place: Place) -> Json:
        uuid = clock.new_uuid()
        named = str(value.get("location") or value.get("path") or "directory").rstrip("/")
        basename = str(value.get("basename") or named.rsplit("/", 1)[-1])
        self.occurrences.append(
            Occurrence(uuid, FileKind.DIRECTORY, basename, place.port, place.position, parent=place.parent),
        )
        reference = FileReference(place.port, place.position, value)
        if "listing" not in value and reference.source.kind is SourceKind.REMOTE:
            looked = self.looked[self._source_place(reference)]
            members = self._elsewhere(as_tree(looked.listing), looked, place, uuid)
            return {"class": "Directory", "basename": basename, "listing": members, OCCURRENCE: str(uuid)}
        if "listing" not in value:
            message = f"input {place.port!r} names the directory {basename!r} without its listing; send its files along"
            self.findings.append(Finding(message, "inputs/no-listing"))
        listing = self._members(value.get("listing") or [], place, ".listing", uuid)
        return {"class": "Directory", "basename": basename, "listing": listing, OCCURRENCE: str(uuid)}

    def _elsewhere(self, tree: Mapping[str, Any], looked: Looked, place: Place, parent: UUID) -> list[Json]:
        """The members of a folder elsewhere, by name."""
        members: list[Json] = []
        for index, (name, member) in enumerate(sorted(tree.items())):
            inner = place.below(f".listing[{index}]", parent)
            if not isinstance(member, dict):
                members.append(self._late({"basename": name}, inner, looked, member, None))
                continue
            uuid = clock.new_uuid()
            self.occurrences.append(
                Occurrence(uuid, FileKind.DIRECTORY, name, inner.port, inner.position, parent=inner.parent)
            )
            listing = self._elsewhere(member, looked, inner, uuid)
            members.append({"class": "Directory", "basename": name, "listing": listing, OCCURRENCE: str(uuid)})
        return members

    def _members(self, members: list[Json], place: Place, key: str, parent: UUID) -> list[Json]:
        return [self._value(member, place.below(f"{key}[{index}]", parent)) for index, member in enumerate(members)]
