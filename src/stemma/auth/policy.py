"""Which role may do what: one table. What lies in which group is the queries' part, not a role's."""

from enum import StrEnum

from stemma.auth.principal import Principal
from stemma.errors import Forbidden

USER = "reprov_user"
ADMIN = "reprov_admin"


class Action(StrEnum):
    """What a caller may want to do. Every route declares one."""

    READ = "read"
    REGISTER = "register"
    RUN = "run"
    CAPTURE = "capture"
    DELETE = "delete"


ALLOWED: dict[Action, frozenset[str]] = {
    Action.READ: frozenset({USER, ADMIN}),
    Action.REGISTER: frozenset({USER, ADMIN}),
    Action.RUN: frozenset({USER, ADMIN}),
    Action.CAPTURE: frozenset({USER, ADMIN}),
    Action.DELETE: frozenset({ADMIN}),
}


def require(principal: Principal, action: Action) -> None:
    """Return when ``principal`` may do ``action``.

    Raises:
        Forbidden: none of its roles allows that.
    """
    if not principal.roles & ALLOWED[action]:
        needed = " or ".join(sorted(ALLOWED[action]))
        raise Forbidden(f"to {action} you need the role {needed}")
