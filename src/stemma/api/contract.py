"""The OpenAPI document, made such that forms and generated clients are pleasant to use.

What FastAPI writes is right and hard to use: a field that may come as query parameter or in the form is
offered twice, and optional fields are unions with null, which Swagger fills with sample text to be deleted.
"""

from collections.abc import Iterator
from typing import Any, Final

_MULTIPART: Final = "multipart/form-data"
_REFERENCE: Final = "#/components/schemas/"


def tidied(document: dict[str, Any]) -> dict[str, Any]:
    """``document``, changed in place."""
    schemas = document["components"]["schemas"]
    for operation in _operations(document):
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _without_null(parameter["schema"])
        form = _form(operation, schemas)
        if form is not None:
            asked = {parameter["name"] for parameter in operation.get("parameters", [])}
            fields = {name: field for name, field in form["properties"].items() if name not in asked}
            form["properties"] = {name: _as_field(_without_null(field)) for name, field in fields.items()}
    return document


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _form(operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of the form that the operation takes; forms are not shared between operations."""
    content = operation.get("requestBody", {}).get("content", {})
    reference = content.get(_MULTIPART, {}).get("schema", {}).get("$ref")
    return schemas[reference.removeprefix(_REFERENCE)] if reference else None


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What may be left out need not be nullable as well."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **choices[0]}


def _as_field(schema: dict[str, Any]) -> dict[str, Any]:
    """A field of a form: a file as OpenAPI 3.0 says it too, which most generators go by; text empty at first."""
    if "contentMediaType" in schema:
        return {**schema, "format": "binary"}
    if "items" in schema:
        return {**schema, "items": _as_field(schema["items"])}
    return {"example": "", **schema} if schema.get("type") == "string" else schema
