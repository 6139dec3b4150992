"""The OpenAPI document and the routes behind it, as tests walk them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from stemma.api.dependencies import Allowed
from stemma.auth.policy import Action

METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


@dataclass(frozen=True)
class Operation:
    """One operation of the contract."""

    method: str
    path: str
    described: dict[str, Any]
    form: dict[str, Any]
    """The fields of the form that it takes."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def tag(self) -> str:
        """Its group."""
        tag: str = self.described["tags"][0]
        return tag

    @property
    def is_guarded(self) -> bool:
        """Whether it wants a token."""
        return bool(self.described.get("security"))

    def parameters(self, place: str) -> dict[str, bool]:
        """The names of its parameters in ``place`` (path, query, header), and whether they are needed."""
        return {
            parameter["name"]: parameter.get("required", False)
            for parameter in self.described.get("parameters", [])
            if parameter["in"] == place
        }


def operations(document: dict[str, Any]) -> list[Operation]:
    """All operations of ``document``."""
    return [
        Operation(method.upper(), path, described, _form(document, described))
        for path, methods in document["paths"].items()
        for method, described in methods.items()
        if method in METHODS
    ]


def _form(document: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    content = described.get("requestBody", {}).get("content", {})
    for kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        reference = content.get(kind, {}).get("schema", {}).get("$ref")
        if reference:
            fields: dict[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
            return fields
    return {}


def declared_actions(app: FastAPI) -> Iterator[tuple[str, str, list[Action]]]:
    """Each route's methods and path, and the actions that it declares: none, one, or too many."""
    for context in iter_route_contexts(app.routes):
        calls = [dependency.call for dependency in context.dependant.dependencies]
        actions = [call.action for call in calls if isinstance(call, Allowed)]
        for method in context.methods:
            yield method, context.path_format, actions
