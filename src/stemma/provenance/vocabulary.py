"""The words of the documents: namespaces, relations with their formal attributes, and our own terms.

PROV has no word for an exit code or a scatter; those are in our namespace, whose terms
``docs/provenance.md`` explains. Where CWLProv, wfprov or wfdesc has a name, theirs is used.
"""

from enum import StrEnum
from functools import cache
from urllib.parse import quote

PROV = "http://www.w3.org/ns/prov#"
XSD = "http://www.w3.org/2001/XMLSchema#"
STEMMA = "https://github.com/stemma-registry/stemma/blob/main/docs/provenance.md#"

FIXED_NAMESPACES: dict[str, str] = {
    "prov": PROV,
    "xsd": XSD,
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "wfprov": "http://purl.org/wf4ever/wfprov#",
    "wfdesc": "http://purl.org/wf4ever/wfdesc#",
    "wf4ever": "http://purl.org/wf4ever/wf4ever#",
    "ro": "http://purl.org/wf4ever/ro#",
    "cwlprov": "https://w3id.org/cwl/prov#",
    "schema": "http://schema.org/",
    "uuid": "urn:uuid:",
    "hash": "urn:hash::sha256:",
    "stemma": STEMMA,
    "environment": f"{STEMMA}environment-",
}
"""Prefix to namespace, the same in every document. ``registry`` is added: the service's own URL."""


class QName(str):
    """A qualified name as documents write it: ``prefix:local``, the local part percent-encoded."""

    __slots__ = ()

    @property
    def prefix(self) -> str:
        """The part before the first colon."""
        return self.partition(":")[0]

    @property
    def local(self) -> str:
        """The part after the first colon."""
        return self.partition(":")[2]


def segment(text: str) -> str:
    """``text`` as one segment of a path, percent-encoded so that every reader takes the same name from it.

    A segment of dots alone would be taken for a step up the path, so its dots are encoded too.
    """
    encoded = quote(text.encode("utf-8", "surrogatepass"), safe="")
    return encoded.replace(".", "%2E") if not encoded.strip(".") else encoded


def path(text: str) -> str:
    """``text`` as segments between slashes."""
    return "/".join(segment(part) for part in text.split("/"))


class Kind(StrEnum):
    """What a thing of the graph is; the word that PROV-JSON and PROV-N use."""

    ENTITY = "entity"
    ACTIVITY = "activity"
    AGENT = "agent"


class RelationKind(StrEnum):
    """A relation of PROV-DM, by the word that PROV-JSON and PROV-N use."""

    GENERATION = "wasGeneratedBy"
    USAGE = "used"
    COMMUNICATION = "wasInformedBy"
    START = "wasStartedBy"
    DERIVATION = "wasDerivedFrom"
    ATTRIBUTION = "wasAttributedTo"
    ASSOCIATION = "wasAssociatedWith"
    DELEGATION = "actedOnBehalfOf"
    SPECIALIZATION = "specializationOf"
    ALTERNATE = "alternateOf"
    MEMBERSHIP = "hadMember"


FORMAL: dict[RelationKind, tuple[tuple[str, Kind], ...]] = {
    RelationKind.GENERATION: (("prov:entity", Kind.ENTITY), ("prov:activity", Kind.ACTIVITY)),
    RelationKind.USAGE: (("prov:activity", Kind.ACTIVITY), ("prov:entity", Kind.ENTITY)),
    RelationKind.COMMUNICATION: (("prov:informed", Kind.ACTIVITY), ("prov:informant", Kind.ACTIVITY)),
    RelationKind.START: (
        ("prov:activity", Kind.ACTIVITY),
        ("prov:trigger", Kind.ENTITY),
        ("prov:starter", Kind.ACTIVITY),
    ),
    RelationKind.DERIVATION: (
        ("prov:generatedEntity", Kind.ENTITY),
        ("prov:usedEntity", Kind.ENTITY),
        ("prov:activity", Kind.ACTIVITY),
    ),
    RelationKind.ATTRIBUTION: (("prov:entity", Kind.ENTITY), ("prov:agent", Kind.AGENT)),
    RelationKind.ASSOCIATION: (
        ("prov:activity", Kind.ACTIVITY),
        ("prov:agent", Kind.AGENT),
        ("prov:plan", Kind.ENTITY),
    ),
    RelationKind.DELEGATION: (
        ("prov:delegate", Kind.AGENT),
        ("prov:responsible", Kind.AGENT),
        ("prov:activity", Kind.ACTIVITY),
    ),
    RelationKind.SPECIALIZATION: (("prov:specificEntity", Kind.ENTITY), ("prov:generalEntity", Kind.ENTITY)),
    RelationKind.ALTERNATE: (("prov:alternate1", Kind.ENTITY), ("prov:alternate2", Kind.ENTITY)),
    RelationKind.MEMBERSHIP: (("prov:collection", Kind.ENTITY), ("prov:entity", Kind.ENTITY)),
}
"""The ends of each relation, in the order of PROV-N (PROV-DM §5); the first is never empty."""

TIMED = frozenset({RelationKind.GENERATION, RelationKind.USAGE, RelationKind.START})
"""The relations with a time."""

OPTIONAL_ENDS = frozenset({"prov:trigger", "prov:starter", "prov:plan", "prov:activity"})
"""Ends that PROV-DM lets a relation leave out, unless they come first."""

LABEL = QName("prov:label")
LOCATION = QName("prov:location")
ROLE = QName("prov:role")
TYPE = QName("prov:type")
VALUE = QName("prov:value")
BASENAME = QName("cwlprov:basename")

PLAN = QName("prov:Plan")
PERSON = QName("prov:Person")
ORGANIZATION = QName("prov:Organization")
SOFTWARE_AGENT = QName("prov:SoftwareAgent")
COLLECTION = QName("prov:Collection")
EMPTY_COLLECTION = QName("prov:EmptyCollection")
REVISION = QName("prov:Revision")
SECONDARY_FILE = QName("cwlprov:SecondaryFile")
ARTIFACT = QName("wfprov:Artifact")
WORKFLOW_RUN = QName("wfprov:WorkflowRun")
PROCESS_RUN = QName("wfprov:ProcessRun")
WORKFLOW_ENGINE = QName("wfprov:WorkflowEngine")
WORKFLOW = QName("wfdesc:Workflow")
PROCESS = QName("wfdesc:Process")
HAS_SUB_PROCESS = QName("wfdesc:hasSubProcess")
FILE = QName("wf4ever:File")
FOLDER = QName("ro:Folder")


@cache
def term(name: str) -> QName:
    """Our own word ``name``."""
    return QName(f"stemma:{name}")
