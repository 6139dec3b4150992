"""The texts in an input object: brought into the store before the run is written down."""

from collections.abc import Mapping

from stemma.cwl.filereferences import SourceKind, file_references
from stemma.lifecycle.installation import Installation
from stemma.records import Content, Json


def keep_literals(installation: Installation, inputs: Mapping[str, Json]) -> dict[str, Content]:
    """The content of each text in ``inputs``, by the text: stored now, since each takes the disk its time.

    Raises:
        StorageFull: there is no space for one.
    """
    sources = (reference.source for reference in file_references(inputs))
    texts = dict.fromkeys(source.text for source in sources if source.kind is SourceKind.LITERAL)
    return {text: installation.store.put_bytes(text.encode()) for text in texts}
