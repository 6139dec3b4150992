"""What the URLs in an input object lead to, and its texts: brought into the store before the run is written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stemma.cwl.filereferences import SourceKind, file_references
from stemma.errors import PlaceholderNotFound, SourceNotFound, TooLarge
from stemma.lifecycle.installation import Installation
from stemma.records import Content, Json
from stemma.storages.platform import OwnFile, Platform

if TYPE_CHECKING:
    from stemma.storages.outgoing import Errand

MAX_ADDRESSES: Final = 100
"""How many different ones the inputs of one run may name: nobody is to set us on a server."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL led to: a file of this service by its number, or content that the store holds now."""

    file: int | Content
    basename: str
    """What its server calls it; empty for a file of this service, which has a name."""
    source: dict[str, Json] | None
    """Where it came from, as it is recorded; None where the URL itself names a file of this service."""


def fetch_inputs(installation: Installation, inputs: Mapping[str, Json]) -> dict[str, Fetched]:
    """What each URL in ``inputs`` leads to, by the URL: each is asked for once, so that it is the same everywhere.

    Raises:
        PlaceholderNotFound: one leads nowhere.
        AddressRefused, SourceUnusable, SourceUnavailable, TooManyFetches: see :mod:`stemma.storages.outgoing`.
        TooLarge: one leads to more than may be uploaded, or there are too many.
    """
    ports: dict[str, str] = {}
    for reference in file_references(inputs):
        if reference.source.kind is SourceKind.PLATFORM:
            ports.setdefault(reference.source.text, reference.port)
    if not ports:
        return {}
    if len(ports) > MAX_ADDRESSES:
        raise TooLarge("what the inputs name elsewhere", MAX_ADDRESSES, "addresses")
    with installation.outgoing().errand() as errand:
        return {url: _fetched(installation, errand, url, port) for url, port in ports.items()}


def keep_literals(installation: Installation, inputs: Mapping[str, Json]) -> dict[str, Content]:
    """The content of each text in ``inputs``, by the text: stored now, since each takes the disk its time.

    Raises:
        StorageFull: there is no space for one.
    """
    sources = (reference.source for reference in file_references(inputs))
    texts = dict.fromkeys(source.text for source in sources if source.kind is SourceKind.LITERAL)
    return {text: installation.store.put_bytes(text.encode()) for text in texts}


def placeholder(url: str) -> str:
    """``url`` as it is written in a document."""
    return f"{{{{{url}}}}}"


def _fetched(installation: Installation, errand: "Errand", url: str, port: str) -> Fetched:
    settings = installation.settings
    platform = Platform(settings.public_url, settings.max_upload_bytes, settings.max_catalogue_bytes)
    what = f"the input {port!r}"
    try:
        with platform.found(errand, url, what) as found:
            if isinstance(found, OwnFile):
                return Fetched(found.number, "", found.source.recorded() if found.source else None)
            content = installation.store.put_stream(found, limit_bytes=settings.max_upload_bytes, what=what)
            return Fetched(content, found.basename, found.source.recorded())
    except SourceNotFound as error:
        raise PlaceholderNotFound(port, placeholder(url)) from error
