"""Who may do what to which things: one table.

A row says which roles allow an action on a kind of thing, and how the caller must be related to the thing. Every route
declares its action, which the role is checked against before anything is looked up. The relation is kept by the
queries: each takes the caller's groups and finds nothing outside of them, so that what belongs to other groups looks
exactly like what does not exist. ``docs/http-api.md`` shows the table; tests hold both to it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stemma.auth.principal import Principal
from stemma.errors import Forbidden

USER = "reprov_user"
ADMIN = "reprov_admin"

EVERYBODY: Final = frozenset({USER, ADMIN})
ADMINS: Final = frozenset({ADMIN})


class Action(StrEnum):
    """What a caller may want to do. Every route declares one."""

    READ = "read"
    REGISTER = "register"
    RUN = "run"
    CAPTURE = "capture"
    DELETE = "delete"
    AUTHORIZE = "authorize"
    WRITE = "write"


class Resource(StrEnum):
    """What it is done to. The words are the tags of the routes."""

    REGISTRY = "registry"
    EXECUTION = "execution"
    PROVENANCE = "provenance"
    ENGINE = "engine"
    REMOTE = "remote"
    SERVICE = "service"


class Relation(StrEnum):
    """How the caller must be related to the thing."""

    MEMBER = "in the thing's group"
    OWN = "its owner, or an admin of the group"
    ANY = "anybody"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row: holders of one of ``roles`` may do ``action`` to a ``resource`` that they have ``relation`` to."""

    action: Action
    resource: Resource
    roles: frozenset[str]
    relation: Relation
    meaning: str
    """What that is, in a few words for people."""


TABLE: Final = (
    Rule(Action.READ, Resource.REGISTRY, EVERYBODY, Relation.MEMBER, "lists, entries, revisions, documents, diagrams"),
    Rule(Action.REGISTER, Resource.REGISTRY, EVERYBODY, Relation.MEMBER, "register, validate and update entries"),
    Rule(Action.DELETE, Resource.REGISTRY, ADMINS, Relation.MEMBER, "take an entry out of the registry"),
    Rule(Action.READ, Resource.EXECUTION, EVERYBODY, Relation.MEMBER, "lists, executions, files, logs, events"),
    Rule(Action.RUN, Resource.EXECUTION, EVERYBODY, Relation.MEMBER, "run an entry, stop a run, tell of its steps"),
    Rule(Action.DELETE, Resource.EXECUTION, ADMINS, Relation.MEMBER, "delete executions"),
    Rule(Action.READ, Resource.PROVENANCE, EVERYBODY, Relation.MEMBER, "pictures and documents of an execution"),
    Rule(Action.CAPTURE, Resource.PROVENANCE, EVERYBODY, Relation.MEMBER, "freeze the record of an execution"),
    Rule(Action.READ, Resource.ENGINE, EVERYBODY, Relation.ANY, "which there are, and who has credentials for them"),
    Rule(Action.AUTHORIZE, Resource.ENGINE, EVERYBODY, Relation.OWN, "give and take back a credential for an engine"),
    Rule(Action.READ, Resource.REMOTE, EVERYBODY, Relation.MEMBER, "which there are, and the files on them"),
    Rule(Action.WRITE, Resource.REMOTE, EVERYBODY, Relation.MEMBER, "try it, put files there, copy between remotes"),
    Rule(Action.AUTHORIZE, Resource.REMOTE, EVERYBODY, Relation.OWN, "register, change and forget a remote"),
    Rule(Action.READ, Resource.SERVICE, EVERYBODY, Relation.ANY, "who am I, figures of the service"),
)


def _roles_by_action() -> dict[Action, frozenset[str]]:
    found: dict[Action, frozenset[str]] = {}
    for rule in TABLE:
        if found.setdefault(rule.action, rule.roles) != rule.roles:
            raise AssertionError(f"{rule.action} wants other roles for {rule.resource} than elsewhere")
    return found


ALLOWED: Final = _roles_by_action()
"""The roles that allow an action, on whatever thing: a route is asked before it is known which thing there is."""


def require(principal: Principal, action: Action) -> None:
    """Return when a role of ``principal`` allows ``action``.

    Raises:
        Forbidden: none does.
    """
    if not principal.roles & ALLOWED[action]:
        needed = " or ".join(sorted(ALLOWED[action]))
        raise Forbidden(f"to {action} you need the role {needed}")


def require_admin(principal: Principal, what: str) -> None:
    """Return when ``principal`` may do ``what``, which is for admins although the action as such is for everybody.

    Raises:
        Forbidden: they have not that role.
    """
    if ADMIN not in principal.roles:
        raise Forbidden(f"to {what} you need the role {ADMIN}")


def rule_for(action: Action, resource: str) -> Rule | None:
    """The row for ``action`` on things of this kind; None where the table has none, so that nobody may."""
    return next((rule for rule in TABLE if (rule.action, rule.resource) == (action, resource)), None)


def as_markdown() -> str:
    """The table, for people."""
    lines = ["| action | on | roles | the caller is | what that is |", "|---|---|---|---|---|"]
    for rule in TABLE:
        roles = ", ".join(f"`{role}`" for role in sorted(rule.roles, reverse=True))
        lines.append(f"| {rule.action} | {rule.resource} | {roles} | {rule.relation} | {rule.meaning} |")
    return "\n".join(lines) + "\n"
