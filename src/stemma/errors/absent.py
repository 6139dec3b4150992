"""There is no such thing, or none that who asks may see."""

from collections.abc import Sequence
from http import HTTPStatus

from stemma.errors.base import StemmaError


class NotFound(StemmaError):
    """No such thing, or none that this principal may see (we do not tell which)."""

    code, status, exit_code = "not-found", HTTPStatus.NOT_FOUND, 66


class WorkflowNotFound(NotFound):
    """No such registry entry for this principal."""

    code = "workflow-not-found"

    def __init__(self, workflow_id: int | str) -> None:
        super().__init__(f"Invalid registry_id: there is no workflow {workflow_id}")
        self.workflow_id = workflow_id


class RevisionNotFound(NotFound):
    """The entry has no such revision."""

    code = "revision-not-found"

    def __init__(self, workflow_id: int, number: int) -> None:
        super().__init__(f"workflow {workflow_id} has no revision {number}")
        self.workflow_id, self.number = workflow_id, number


class RunNotFound(NotFound):
    """No such run for this principal."""

    code = "run-not-found"

    def __init__(self, run: int | str) -> None:
        super().__init__(f"there is no execution {run}")
        self.run = run


class StepNotFound(NotFound):
    """The run has no such step."""

    code = "step-not-found"

    def __init__(self, run_id: int, step: str) -> None:
        super().__init__(f"execution {run_id} has no step {step!r}")
        self.run_id, self.step = run_id, step


class FileNotFound(NotFound):
    """No such file entity for this principal."""

    code = "file-not-found"

    def __init__(self, file: int | str) -> None:
        super().__init__(f"there is no file {file}")
        self.file = file


class CaptureNotFound(NotFound):
    """The run has no sealed record."""

    code = "capture-not-found"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"the provenance of execution {run_id} was not captured")
        self.run_id = run_id


class EngineNotFound(NotFound):
    """No engine of that name is set up here."""

    code = "engine-not-found"

    def __init__(self, engine: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no engine {engine!r}; set up here: {', '.join(known)}")
        self.engine, self.known = engine, tuple(known)


class CredentialNotFound(NotFound):
    """Neither this person nor this group has a credential for the engine here."""

    code = "credential-not-found"

    def __init__(self, engine: str, whose: str) -> None:
        super().__init__(f"there is no credential of {whose} for engine {engine!r}")
        self.engine, self.whose = engine, whose


class RemoteNotFound(NotFound):
    """Neither this person nor a group of theirs has a remote of that name."""

    code = "remote-not-found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no remote {name!r}")
        self.name = name


class PlaceholderNotFound(NotFound):
    """A ``valueFromPlatform`` or ``valueFromEntity`` leads nowhere."""

    code = "placeholder-not-found"

    def __init__(self, port: str, placeholder: str) -> None:
        super().__init__(f"Invalid entity id in placeholder: input {port!r} names {placeholder!r}")
        self.port, self.placeholder = port, placeholder


class SourceNotFound(NotFound):
    """Nothing lies at an address elsewhere, or its name leads to nothing that may be asked (we do not tell which)."""

    code = "source-not-found"

    def __init__(self, what: str) -> None:
        super().__init__(f"there is nothing at the address of {what}")
        self.what = what
