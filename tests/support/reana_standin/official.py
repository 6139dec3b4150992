"""Reads schemas of REANA's own description of its API."""

from typing import Any


def with_nulls(schema: Any) -> Any:
    """What OpenAPI 2 says with ``x-nullable``, as JSON Schema."""
    if isinstance(schema, list):
        return [with_nulls(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: with_nulls(value) for name, value in schema.items()}
    return {"anyOf": [inner, {"type": "null"}]} if schema.get("x-nullable") is True else inner
