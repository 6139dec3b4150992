"""What was asked does not fit what there is."""

from http import HTTPStatus

from stemma.errors.base import StemmaError


class DuplicateWorkflow(StemmaError):
    """The group already has an entry of this name and version."""

    code, status, exit_code = "duplicate-workflow", HTTPStatus.BAD_REQUEST, 73

    def __init__(self, name: str, version: str) -> None:
        super().__init__(f"a workflow {name!r} version {version!r} is registered already; choose another version")
        self.name, self.version = name, version


class Conflict(StemmaError):
    """Not in the state that the thing is in."""

    code, status, exit_code = "conflict", HTTPStatus.CONFLICT, 75


class RunNotEnded(Conflict):
    """The run still goes on."""

    code = "run-not-ended"

    def __init__(self, run_id: int, state: str) -> None:
        super().__init__(f"execution {run_id} is {state}; wait until it has ended")
        self.run_id, self.state = run_id, state


class RunEnded(Conflict):
    """The run has ended already."""

    code = "run-ended"

    def __init__(self, run_id: int, state: str) -> None:
        super().__init__(f"execution {run_id} has ended already: {state}")
        self.run_id, self.state = run_id, state


class EntryChanging(Conflict):
    """Others change the entry all the time."""

    code = "entry-changing"

    def __init__(self, workflow_id: int) -> None:
        super().__init__(f"workflow {workflow_id} is being changed by others; look at it, and try again")
        self.workflow_id = workflow_id


class InputGone(Conflict):
    """A file of this service that the inputs of a run name is not in the store any more: dropped, or lost."""

    code = "input-gone"

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"a file that the inputs name, with SHA-256 {sha256}, is not in the store any more; name the address "
            "elsewhere that it came from, or send it along"
        )
        self.sha256 = sha256


class SourceChanged(Conflict):
    """What lies at an address elsewhere is not what it was when it was looked at."""

    code = "source-changed"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} has changed since it was looked at; what was read of the older one is not used")
        self.what = what


class RemoteExists(Conflict):
    """Its owner has a remote of that name already."""

    code, exit_code = "remote-exists", 73

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a remote {name!r} already; choose another name, give it new credentials (stemma remote login "
            f"{name}), or delete it first"
        )
        self.name = name


class RemoteChanging(Conflict):
    """Others have changed or deleted the remote at the same moment."""

    code = "remote-changing"

    def __init__(self, name: str) -> None:
        super().__init__(f"the remote {name!r} was changed by others at the same moment; look at it, and try again")
        self.name = name
