"""Finds and makes workflows."""

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.reana_standin.clock import Clock
from support.reana_standin.refusals import Refused, UnknownWorkflow
from support.reana_standin.rows import User, Workflow

_NAME_OF_THE_NAMELESS = "workflow"


class Registry:
    """All rows. Only the server's event loop touches it."""

    def __init__(self, users: Iterable[User], folder: Path, clock: Clock) -> None:
        self._users = {user.token: user for user in users}
        self._folder = folder
        self._clock = clock
        self._workflows: dict[str, Workflow] = {}

    def user(self, token: str | None, revoked: Iterable[str]) -> User:
        """Whose token this is."""
        if token is None:
            raise Refused(401, "User not signed in")
        user = self._users.get(token)
        if user is None:
            raise Refused(403, "Token not valid.")
        if user.name in revoked:
            raise Refused(403, "User access token revoked.")
        return user

    def all(self) -> list[Workflow]:
        """Every workflow of everybody, oldest first."""
        return list(self._workflows.values())

    def of(self, user: User) -> list[Workflow]:
        """All workflows of ``user``, oldest first."""
        return [workflow for workflow in self._workflows.values() if workflow.owner is user]

    def find(self, user: User, asked: str, status: int = 404) -> Workflow:
        """By id, by ``name.N``, or the latest of a name."""
        if is_uuid(asked):
            workflow = self._workflows.get(str(uuid.UUID(asked)))
            if workflow is None or workflow.owner is not user:
                raise UnknownWorkflow(asked, status)
            return workflow
        named = [w for w in self.of(user) if asked in {w.name, w.full_name}]
        if not named:
            raise UnknownWorkflow(asked, status)
        return max(named, key=lambda w: (w.major, w.minor))

    def create(
        self, user: User, name: str, specification: dict[str, Any], operational_options: dict[str, Any]
    ) -> Workflow:
        """A new workflow with an empty workspace."""
        number = str(uuid.uuid4())
        name = name or _NAME_OF_THE_NAMELESS
        major = max((w.major for w in self.of(user) if w.name == name), default=0) + 1
        workspace = self._folder / "users" / user.number / "workflows" / number
        workspace.mkdir(parents=True)
        rules = specification.get("workspace", {}).get("retention_days") or {}
        workflow = Workflow(
            owner=user,
            name=name,
            major=major,
            minor=0,
            specification=specification,
            operational_options=operational_options,
            created=self._clock.now(),
            workspace=workspace,
            number=number,
            retention_rules=[_rule(files, days) for files, days in rules.items()],
        )
        self._workflows[number] = workflow
        return workflow

    def restarted(self, workflow: Workflow, specification: dict[str, Any] | None) -> Workflow:
        """A new row for the same workspace."""
        minor = max(w.minor for w in self.of(workflow.owner) if (w.name, w.major) == (workflow.name, workflow.major))
        again = Workflow(
            owner=workflow.owner,
            name=workflow.name,
            major=workflow.major,
            minor=minor + 1,
            specification=specification or workflow.specification,
            operational_options=workflow.operational_options,
            created=self._clock.now(),
            workspace=workflow.workspace,
            number=str(uuid.uuid4()),
            retention_rules=workflow.retention_rules,
        )
        self._workflows[again.number] = again
        return again


def is_uuid(text: str) -> bool:
    """Whether this is a UUID of version 4, in one of the two usual forms."""
    try:
        return uuid.UUID(text, version=4).hex == text.replace("-", "").lower()
    except ValueError:
        return False


def _rule(files: str, days: int) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "workspace_files": files,
        "retention_days": days,
        "apply_on": None,
        "status": "created",
    }
