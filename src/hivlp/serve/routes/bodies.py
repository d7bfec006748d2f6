"""Reads parameters and bodies, a body only by its declared type; and writes JSON.

FastAPI could read both. For the query string of a model it takes longer than the search does, and it reads a
body before a route can refuse its type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hivlp.messages import rule, suggestion
from hivlp.serve.problems import Problem
from hivlp.serve.schemas import ErrorModel

Parsed = TypeVar("Parsed", bound=BaseModel)

JSON = "application/json"
FORM = "multipart/form-data"
_MAX_VALUES = 50_000
# A string as a whole, or a mark before another value. Strings are matched in long steps: images are such.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[,\[{]', re.DOTALL)
_ERRORS = {
    400: "The query, an option or a filter is invalid.",
    401: "An API key is needed.",
    403: "The request is not allowed here.",
    404: "The item, index or model does not exist.",
    408: "The body took too long to arrive.",
    410: "The image is gone or was replaced.",
    413: "The body is too large.",
    415: "The type of the body is not supported.",
    422: "The body or the parameters do not fit the schema, or an image can't be decoded.",
    429: "Too many requests; Retry-After gives the seconds to wait.",
    503: "The index can't be used now.",
    504: "The time limit was exceeded.",
}


class Form(NamedTuple):
    """An uploaded form: the file ``image``, and the other fields."""

    image: bytes
    fields: dict[str, str]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for the OpenAPI document."""
    always = (400, 401, 403, 422, 429, 503)
    return {s: {"model": ErrorModel, "description": _ERRORS[s]} for s in sorted({*always, *statuses})}


def body_of(*models: type[BaseModel], form: type[BaseModel] | None = None) -> dict[str, Any]:
    """The schema of a body that a route reads itself, for the OpenAPI document."""
    schemas = [_schema(model) for model in models]
    content: dict[str, Any] = {JSON: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
    if form is not None:
        schema = _schema(form)
        picture = {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": "An image file.",
        }
        schema["properties"] = {"image": picture, **schema.get("properties", {})}
        schema["required"] = ["image", *schema.get("required", [])]
        content[FORM] = {"schema": schema}
    return {"requestBody": {"required": True, "content": content}}


def query_of(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a query string that a route reads itself, for the OpenAPI document."""
    schema = _schema(model)
    required = schema.get("required", [])
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": part}
            for name, part in schema["properties"].items()
        ]
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model, without references."""
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions = schema.pop("$defs", {})

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return whole(definitions[part["$ref"].rpartition("/")[2]])
            return {key: whole(value) for key, value in part.items()}
        return [whole(value) for value in part] if isinstance(part, list) else part

    return whole(schema)


def media_type(request: Request) -> str:
    """The declared media type of a body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, model: type[Parsed]) -> Parsed:
    """The body as a model.

    Raises:
        Problem: 415, the body is not declared as JSON; 422, it does not fit the model.
    """
    if media_type(request) != JSON:
        raise wrong_type(request, JSON)
    return checked(model, await request.body())


async def read_form(request: Request) -> Form:
    """The body as a form with the file ``image``.

    Raises:
        Problem: 422, the form can't be read, or has no such file.
    """
    try:
        async with request.form(max_files=1, max_fields=32, max_part_size=1 << 20) as form:
            image = form.get("image")
            if not isinstance(image, UploadFile):
                raise Problem(
                    422, "invalid", "the form has no file field named image: send the image under this name"
                )
            fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
            return Form(await image.read(), fields)
    except HTTPException as error:
        raise Problem(422, "invalid", f"the form can't be read: {error.detail}") from error
    except UnicodeError as error:
        raise Problem(422, "invalid", "the form is not in its declared charset: send UTF-8") from error


def checked(model: type[Parsed], value: bytes | Mapping[str, str]) -> Parsed:
    """JSON, or the fields of a form, as a model.

    Raises:
        Problem: 422, naming the invalid fields; 413, the body has too many values.
    """
    if isinstance(value, bytes) and has_more_values(value, _MAX_VALUES):
        raise Problem(413, "too_large", f"the body has more than {_MAX_VALUES:,} values: send less at a time")
    try:
        return model.model_validate_json(value) if isinstance(value, bytes) else model.model_validate(value)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False), model) from error


def invalid(found: Any, model: type[BaseModel] | None = None) -> Problem:
    """The response to a body or parameters that do not fit the schema; a wrong name gets the nearest one."""
    lines = [f"{_place(one['loc'])}{rule(one)}{_meant(one, model)}" for one in found[:5]]
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return Problem(422, "invalid", "; ".join(lines) + more)


def _meant(problem: Any, model: type[BaseModel] | None) -> str:
    if model is None or problem["type"] != "extra_forbidden" or len(problem["loc"]) != 1:
        return ""
    return f"; {suggestion(str(problem['loc'][0]), model.model_fields)}"


def wrong_type(request: Request, *known: str) -> Problem:
    """The response to a body of a type that the route does not read."""
    given = media_type(request) or "nothing"
    return Problem(
        415, "bad_type", f"the header Content-Type is {given[:80]!r}: must be {' or '.join(known)}"
    )


def as_json(document: Mapping[str, Any]) -> Response:
    """A JSON response, written without a model: faster, for documents that are known to be valid."""
    try:
        content = orjson.dumps(document)
    except TypeError:  # a file name that is not Unicode, or a number of more than 64 bits
        content = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(content, media_type=JSON)


def _place(location: tuple[str | int, ...]) -> str:
    path = ".".join(str(part) for part in location if part not in ("query", "path") or len(location) == 1)
    return f"{path}: " if path else ""


def has_more_values(text: bytes, limit: int) -> bool:
    """Whether a JSON text has more than about ``limit`` values; values inside strings do not count.

    Parsing takes time and memory for each value, a kilobyte for each invalid one, and blocks all other
    requests.
    """
    if sum(text.count(mark) for mark in (b",", b"[", b"{")) < limit:
        return False  # nearly always
    marks = 0
    for token in _TOKEN.finditer(text):
        marks += token[0][0] != ord('"')
        if marks >= limit:
            return True
    return False
