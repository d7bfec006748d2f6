"""The service does what its OpenAPI document says, for requests that it allows and some that it does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hivlp.serve import ServiceSettings, create_app
from serve_tools import colour_index

KEY = "a-key-of-enough-letters"
EXAMPLES = 6
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
# What a browser opens, and the document itself.
NOT_IN_DOCUMENT = {"/", "/favicon.ico", "/page", "/v1/openapi.json"}


@pytest.fixture
def app(tmp_path: Path, request: pytest.FixtureRequest) -> FastAPI:
    """The service with the settings of the test's parameter."""
    chosen = getattr(request, "param", {})
    index = colour_index(tmp_path, writable=chosen.get("writable", False))
    return create_app({"colours": index}, ServiceSettings(**chosen))


def paths(routes: Iterable[Any]) -> Iterator[str]:
    """The paths of routes, also of those that newer versions of FastAPI keep in their routers."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route.path.replace(":path}", "}")
        else:
            yield from paths(inner.routes)


def obeys(app: FastAPI, mode: GenerationMode) -> int:
    """Asks every operation with generated requests. Gives the number of requests."""
    asked = 0
    for found in schemathesis.openapi.from_asgi("/v1/openapi.json", app).get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not (
            list(operation.iter_parameters()) or list(operation.body)
        ):
            continue  # a request without anything to vary can't be wrong

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.validate_response(case.call(), checks=CHECKS)

        holds()
    return asked


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("app", [{}, {"writable": True}], indirect=True, ids=["read-only", "writable"])
def test_every_answer_is_one_of_the_document(app: FastAPI, mode: GenerationMode) -> None:
    assert obeys(app, mode) > 5 * EXAMPLES


def test_every_route_is_in_the_document(app: FastAPI) -> None:
    document = app.openapi()
    assert set(paths(app.routes)) - set(document["paths"]) == NOT_IN_DOCUMENT
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["tags"] and operation["description"] for operation in operations)


@pytest.mark.parametrize(
    ("app", "wanted"),
    [({}, [{"key": []}, {}]), ({"keys": [KEY]}, [{"key": []}])],
    indirect=["app"],
    ids=["open", "with keys"],
)
def test_the_document_tells_of_the_key(app: FastAPI, wanted: list[Any]) -> None:
    document = app.openapi()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["security"] == wanted
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/search"]["get"]
