"""The OpenAPI document is one that forms and generated clients can use."""

import pytest

from stemma.api.contract import tidied


@pytest.fixture
def document(served):
    with served.client_as("user_1") as client:
        return client.get("/openapi.json").json()


def test_forms_when_they_take_files_are_multipart(document):
    for path in (
        "/workflow_registry/register",
        "/workflow_registry/validate",
        "/workflow_execution/execute/{registry_id}",
    ):
        assert "multipart/form-data" in document["paths"][path]["post"]["requestBody"]["content"]


def test_fields_when_they_are_query_parameters_are_not_asked_for_twice(document):
    schemas = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            asked = {parameter["name"] for parameter in operation.get("parameters", [])}
            content = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
            if content:
                form = schemas[content["schema"]["$ref"].rsplit("/", 1)[-1]]
                assert not asked & set(form["properties"])
                assert all("anyOf" not in field for field in form["properties"].values())


def test_parameters_when_optional_are_not_unions_with_null(document):
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                assert {"type": "null"} not in parameter["schema"].get("anyOf", [])


def test_tidied_when_a_union_has_several_types_leaves_it():
    union = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}
    parameters = [{"name": "x", "schema": dict(union)}]
    document = {"components": {"schemas": {}}, "paths": {"/x": {"get": {"parameters": parameters}}}}
    assert tidied(document)["paths"]["/x"]["get"]["parameters"][0]["schema"] == union
