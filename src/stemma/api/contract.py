"""The OpenAPI document, made such that forms and generated clients are pleasant to use.

What FastAPI writes is right and hard to use: a field that may come as query parameter or in the form is offered
twice, optional fields are unions with null, which Swagger fills with sample text to be deleted, operations are summed
up by the names of functions, answers have no examples, and schemas are called by what they were made of.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from stemma.api.schemas.runs import EventShown, ExecutionRequest

_MULTIPART: Final = "multipart/form-data"
_JSON: Final = "application/json"
_REFERENCE: Final = "#/components/schemas/"
_FREE_OBJECT: Final = {
    "type": "object",
    "additionalProperties": True,
    "description": "Any JSON object.",
    "title": "JsonObject",
}
_SENT_BESIDE: Final = (ExecutionRequest, EventShown)
"""Models that no route takes or gives in a way that FastAPI sees."""
_NOT_FOUND: Final = {
    "registry_id": "Invalid registry_id: there is no workflow 7",
    "execution_id": "there is no execution 12",
    "file_id": "there is no file 31",
    "reana_name": "there is no execution rain:1-0 #1",
}
_FINDING: Final = {
    "message": "Input should be a valid integer",
    "rule": "request/int_parsing",
    "file": None,
    "line": None,
    "column": None,
    "parameter": "query.limit",
}
_PLAIN: Final = {
    "date-time": "2026-05-04T09:30:00.123456Z",
    "string": "text",
    "integer": 1,
    "number": 0.5,
    "boolean": True,
    "object": {},
}
_HEADERS: Final = {
    "401": {"WWW-Authenticate": {"description": "How to log in (RFC 6750).", "schema": {"type": "string"}}},
    "416": {"Content-Range": {"description": "How large the file is.", "schema": {"type": "string"}}},
    "429": {"Retry-After": {"description": "When to try again, in seconds.", "schema": {"type": "integer"}}},
    "503": {"Retry-After": {"description": "When to try again, in seconds.", "schema": {"type": "integer"}}},
}


STORED_FILE: Final[dict[int | str, dict[str, Any]]] = {
    206: {"description": "the part that `Range` asks for"},
    304: {"description": "you have it already: `If-None-Match` names its `ETag`"},
    416: {"description": "`Range` asks for what is beyond the end"},
}
"""What the download of a file that lies in the store may answer beside the file."""
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An `ETag` of this file that you have already.",
    "schema": {"type": "string"},
}


def tidied(document: dict[str, Any]) -> dict[str, Any]:
    """``document``, changed in place."""
    schemas = document["components"]["schemas"]
    for model in _SENT_BESIDE:
        described = model.model_json_schema(ref_template=f"{_REFERENCE}{{model}}")
        schemas |= described.pop("$defs", {})
        schemas[model.__name__] = described
    for operation in _operations(document):
        _tidy_parameters(operation, schemas)
        form = _form(operation, schemas)
        if form is not None:
            asked = {parameter["name"] for parameter in operation.get("parameters", [])}
            fields = {name: field for name, field in form["properties"].items() if name not in asked}
            form["properties"] = {name: _as_field(_without_null(field)) for name, field in fields.items()}
    for method, operation in _methods(document):
        _sum_up(operation)
        _complete_answers(method, operation, schemas)
    _name_free_objects(document)
    return _renamed(document)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for _, operation in _methods(document):
        yield operation


def _methods(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in document["paths"].values():
        yield from path.items()


def _tidy_parameters(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        schema = _without_null(parameter["schema"])
        if "enum" in schema and "title" in schema:
            # A name for each choice, or every operation that offers it gets a class of its own.
            schemas[schema["title"]] = {key: schema[key] for key in ("type", "enum", "title")}
            kept = {key: value for key, value in schema.items() if key not in {"type", "enum", "title"}}
            schema = {"$ref": f"{_REFERENCE}{schema['title']}", **kept}
        parameter["schema"] = schema


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


def _sum_up(operation: dict[str, Any]) -> None:
    """The first sentence of the description, in place of the function's name."""
    if "description" in operation:
        first = operation["description"].partition("\n")[0]
        operation["summary"] = re.split(r"(?<=[^.])[.;:?](?:\s|$)", first)[0]


def _complete_answers(method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """What holds for every operation, and an example of every answer in JSON."""
    answers = operation["responses"]
    if method != "get" and "422" in answers:
        answers.setdefault("413", _too_large(answers["422"]["content"][_JSON]["schema"]))
    if "304" in answers:
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
    named = [_NOT_FOUND[p["name"]] for p in operation.get("parameters", []) if p["name"] in _NOT_FOUND]
    for status, answer in answers.items():
        if status in _HEADERS:
            answer.setdefault("headers", {}).update(_HEADERS[status])
        for media_type, content in answer.get("content", {}).items():
            if media_type == "text/plain":
                content.setdefault("schema", {"type": "string"})
            elif media_type == _JSON:
                if content["schema"].get("format") == "binary":  # a download, and an object all the same
                    content["schema"] = dict(_FREE_OBJECT)
                    continue
                content.setdefault("example", _example(content["schema"], schemas))
                content["example"] |= _said_there(status, named)


def _too_large(schema: dict[str, Any]) -> dict[str, Any]:
    message = "the request is over the limit of 65536 bytes"
    example = {"success": False, "code": 413, "message": message, "data": None, "error_code": 413}
    return {"description": "Content Too Large", "content": {_JSON: {"schema": schema, "example": example}}}


def _said_there(status: str, not_found: list[str]) -> dict[str, Any]:
    """What an example of a refusal says at this operation in particular."""
    if status == "422":
        return {"message": f"{_FINDING['parameter']}: {_FINDING['message']}", "data": [_FINDING]}
    said = {"message": not_found[0]} if status == "404" and not_found else {}
    return said if status == "200" else {"data": None, **said}  # FastAPI leaves nulls out of examples


def _example(schema: dict[str, Any], schemas: dict[str, Any], inside: tuple[str, ...] = ()) -> Any:
    """A value that fits ``schema``, made of the examples of its parts."""
    for said in ("examples", "default", "const", "enum"):
        if said in schema:
            return schema[said][0] if said in {"examples", "enum"} else schema[said]
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        return _example(schemas[name], schemas, (*inside, name))
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], schemas, inside)
    if "properties" in schema:
        needed = {name: field for name, field in schema["properties"].items() if _has_value(schema, name)}
        return {name: _example(field, schemas, inside) for name, field in needed.items()}
    if "items" in schema:
        is_inside = schema["items"].get("$ref", "").removeprefix(_REFERENCE) in inside
        return [] if is_inside else [_example(schema["items"], schemas, inside)]
    return _PLAIN.get(schema.get("format", schema.get("type", "")))


def _has_value(schema: dict[str, Any], name: str) -> bool:
    """Whether a field is worth showing: it must be there, or says itself what may be in it."""
    return name in schema.get("required", []) or not {"examples", "default", "const"}.isdisjoint(
        schema["properties"][name]
    )


def _name_free_objects(document: dict[str, Any]) -> None:
    """One name for all objects of which nothing is said, where generators would make a class for each place."""
    changed = False

    def visit(part: Any) -> Any:
        nonlocal changed
        if isinstance(part, list):
            return [visit(one) for one in part]
        if not isinstance(part, dict):
            return part
        if part.get("type") == "object" and part.get("additionalProperties") is True and "properties" not in part:
            changed = True
            kept = {key: part[key] for key in ("description", "examples") if key in part}
            return {"$ref": f"{_REFERENCE}JsonObject", **kept}
        return {key: value if key in {"example", "examples"} else visit(value) for key, value in part.items()}

    for key in ("paths", "components"):
        document[key] = visit(document[key])
    if changed:
        document["components"]["schemas"]["JsonObject"] = _FREE_OBJECT


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with names for its schemas that people would choose."""
    names = {name: _good_name(name) for name in document["components"]["schemas"]}
    if len(set(names.values())) != len(names):
        raise AssertionError(f"two schemas of the contract have one name: {sorted(names.values())}")

    def visit(part: Any) -> Any:
        if isinstance(part, list):
            return [visit(one) for one in part]
        if not isinstance(part, dict):
            return part
        return {key: _REFERENCE + names[value.removeprefix(_REFERENCE)] if key == "$ref" else visit(value)
                for key, value in part.items()}  # fmt: skip

    schemas = {names[name]: visit(schema) for name, schema in document["components"]["schemas"].items()}
    for name, schema in schemas.items():
        schema["title"] = name
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["paths"] = visit(document["paths"])
    return document


def _good_name(name: str) -> str:
    """``RunPageAnswer`` of ``Envelope_Page_RunShown__``, ``RegistryRegisterForm`` of ``Body_registry-register``."""
    if name.startswith("Body_"):
        return "".join(word.capitalize() for word in re.split(r"[_-]", name.removeprefix("Body_"))) + "Form"
    for prefix, suffix in (("Envelope_", "Answer"), ("Page_", "Page"), ("list_", "List")):
        if name.startswith(prefix):
            return _good_name(name.removeprefix(prefix).removesuffix("_")) + suffix
    return name.removesuffix("Shown")
