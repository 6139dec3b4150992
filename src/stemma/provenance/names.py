"""The identifiers of the documents: minted by the service, one kind of thing never named like another."""

import re
from functools import lru_cache
from uuid import UUID, uuid5

from stemma.provenance.vocabulary import QName, path, segment
from stemma.records import Person, RevisionRecord

_SHA256 = re.compile(r"(?:^|@)sha256:([0-9a-f]{64})$")


@lru_cache(maxsize=8192)  # what happened together is named together
def minted(uuid: UUID) -> QName:
    """What has a uuid of its own: a run, an attempt, a step execution, an occurrence."""
    return QName(f"uuid:{uuid}")


def part_of(owner: UUID, what: str) -> QName:
    """What has no uuid of its own, named after its owner: the same on every export (RFC 9562 §5.5)."""
    return minted(uuid5(owner, what.encode("utf-8", "surrogatepass").decode("latin-1")))


def workflow(revision: RevisionRecord) -> QName:
    """The registry entry."""
    return QName(f"registry:workflows/{revision.workflow_id}")


def revision(record: RevisionRecord, number: int) -> QName:
    """A revision of the registry entry."""
    return QName(f"registry:workflows/{record.workflow_id}/revisions/{number}")


def step_definition(record: RevisionRecord, step_path: str) -> QName:
    """A step as the revision has it."""
    return QName(f"{revision(record, record.number)}#{path(step_path)}")


def person(someone: Person) -> QName:
    """Somebody, by the token's ``sub``."""
    return QName(f"registry:users/{segment(someone.subject)}")


def group(group_path: str) -> QName:
    """A group, with or without the slash that Keycloak begins it with."""
    return QName(f"registry:groups/{path(group_path.removeprefix('/'))}")


def software(name: str, version: str | None) -> QName:
    """A program at a version."""
    return QName(f"registry:software/{segment(name)}" + (f"/{segment(version)}" if version else ""))


def content(sha256: str) -> QName:
    """Bytes, by their digest."""
    return QName(f"hash:{sha256}")


def image(digest: str) -> QName:
    """A container image, by its digest: by its hash where the digest is a plain SHA-256."""
    found = _SHA256.search(digest)
    return content(found[1]) if found else QName(f"registry:images/{segment(digest)}")
