"""Who asks is not known, or may not."""

from http import HTTPStatus

from stemma.errors.base import StemmaError


class NotAuthenticated(StemmaError):
    """No token, or one that does not hold."""

    code, status, exit_code = "not-authenticated", HTTPStatus.UNAUTHORIZED, 77

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Forbidden(StemmaError):
    """The principal is known and may not do this."""

    code, status, exit_code = "forbidden", HTTPStatus.FORBIDDEN, 77


class AlreadyCaptured(Forbidden):
    """The provenance of this run was captured before; a sealed record does not change."""

    code = "already-captured"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"the provenance of execution {run_id} was captured before")
        self.run_id = run_id


class AmbiguousSelection(StemmaError):
    """Both ways of naming what to delete were given, or neither."""

    code, status, exit_code = "ambiguous-selection", HTTPStatus.FORBIDDEN, 64

    def __init__(self) -> None:
        super().__init__("give either registry_id or reana_name, not both and not neither")
