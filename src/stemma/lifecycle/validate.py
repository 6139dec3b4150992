"""Station *validate*: a document and its inputs template, checked before anything is stored."""

from dataclasses import dataclass

from stemma.cwl.bundle import Bundle, Limits, digest, read_upload
from stemma.cwl.helper import Checked
from stemma.cwl.inputs import check_inputs, read_inputs
from stemma.errors import InvalidInputs, TooLarge
from stemma.lifecycle.installation import Installation
from stemma.records import Json
from stemma.settings import Settings


@dataclass(frozen=True, slots=True)
class Upload:
    """A small file as a caller sent it: a document or an inputs file, in memory."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Validated:
    """A document that can be registered."""

    spec: Upload
    inputs: Upload | None
    bundle: Bundle
    """As registered."""
    checked: Checked
    """Its structure, its placeholders, and the bundle that is run."""

    @property
    def digest(self) -> str:
        """Of the registered bundle: equal content, equal digest."""
        return digest(self.bundle)


def validate(
    installation: Installation, spec: Upload, inputs: Upload | None = None, *, main: str | None = None
) -> Validated:
    """Check ``spec`` (CWL, or a zip of it with what it refers to) and the inputs template that goes with it.

    A template may leave inputs out; what it gives must fit.

    Raises:
        InvalidDocument: it is not valid CWL; findings with file, line and column.
        InvalidInputs: the template does not fit.
        TooLarge: one is over its limit.
        ValidatorUnavailable: the check could not be made.
    """
    bundle = read_upload(spec.name, spec.content, _limits(installation.settings), main=main)
    checked = installation.validator.check(bundle)
    if inputs is not None:
        values = parse_inputs(installation.settings, inputs)
        findings = [finding for finding in check_inputs(checked.structure, values) if finding.rule != "inputs/missing"]
        if findings:
            raise InvalidInputs(findings)
    return Validated(spec, inputs, bundle, checked)


def parse_inputs(settings: Settings, upload: Upload) -> dict[str, Json]:
    """The input object in an inputs file (YAML or JSON).

    Raises:
        InvalidInputs: it is neither, or no object.
        TooLarge: it is over the limit.
    """
    if len(upload.content) > settings.max_document_bytes:
        raise TooLarge(f"the inputs file {upload.name!r}", settings.max_document_bytes)
    return read_inputs(upload.content, upload.name)


def _limits(settings: Settings) -> Limits:
    return Limits(
        document_bytes=settings.max_document_bytes,
        bundle_bytes=settings.max_bundle_bytes,
        bundle_files=settings.max_bundle_files,
    )
