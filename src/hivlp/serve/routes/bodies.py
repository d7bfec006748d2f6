"""Reading parameters and bodies, these by their declared type and no other; and writing JSON.

FastAPI could read both. For a query string of a model it takes longer than the search does, and it reads a
body before anybody can say that its type is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hivlp.messages import rule
from hivlp.serve.problems import Problem
from hivlp.serve.routes.values import has_more_values
from hivlp.serve.schemas import ErrorModel

Model = TypeVar("Model", bound=BaseModel)

JSON = "application/json"
FORM = "multipart/form-data"
_MOST_VALUES = 50_000
_ERRORS = {
    400: "The query or a part of it can't be.",
    401: "A key is needed.",
    403: "Not allowed here.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    410: "The picture is gone, or another one now.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "The body or the parameters have another form, or a picture can't be read.",
    429: "Too much at a time; Retry-After says how many seconds to wait.",
    503: "The index can't be used now.",
    504: "No answer within the time limit.",
}


class Form(NamedTuple):
    """A form that was sent: the file ``image``, and the other fields."""

    image: bytes
    fields: dict[str, str]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers other than 2xx that a route may give, for the OpenAPI document."""
    always = (400, 401, 403, 422, 429, 503)
    return {s: {"model": ErrorModel, "description": _ERRORS[s]} for s in sorted({*always, *statuses})}


def body_of(*models: type[BaseModel], form: type[BaseModel] | None = None) -> dict[str, Any]:
    """The description of a body that a route reads by itself, for the OpenAPI document."""
    schemas = [_schema(model) for model in models]
    content: dict[str, Any] = {JSON: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
    if form is not None:
        schema = _schema(form)
        picture = {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": "A picture file.",
        }
        schema["properties"] = {"image": picture, **schema.get("properties", {})}
        schema["required"] = ["image", *schema.get("required", [])]
        content[FORM] = {"schema": schema}
    return {"requestBody": {"required": True, "content": content}}


def query_of(model: type[BaseModel]) -> dict[str, Any]:
    """The description of a query string that a route reads by itself, for the OpenAPI document."""
    schema = _schema(model)
    required = schema.get("required", [])
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": part}
            for name, part in schema["properties"].items()
        ]
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model in one piece."""
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
    """The type that a request says its body is of, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, model: type[Model]) -> Model:
    """The body as a model.

    Raises:
        Problem: 415, it is not declared as JSON; 422, it is something else than the model.
    """
    if media_type(request) != JSON:
        raise wrong_type(request, JSON)
    return checked(model, await request.body())


async def read_form(request: Request) -> Form:
    """The body as a form with the file ``image``.

    Raises:
        Problem: 422, it can't be read, or there is no such file.
    """
    try:
        async with request.form(max_files=1, max_fields=32, max_part_size=1 << 20) as form:
            image = form.get("image")
            if not isinstance(image, UploadFile):
                raise Problem(
                    422, "invalid", "the form has no file field named image; send the picture under this name"
                )
            fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
            return Form(await image.read(), fields)
    except HTTPException as error:
        raise Problem(422, "invalid", f"the form can't be read: {error.detail}") from error
    except UnicodeError as error:
        raise Problem(422, "invalid", "the form is not in the charset that it names; send UTF-8") from error


def checked(model: type[Model], value: bytes | Mapping[str, str]) -> Model:
    """JSON, or the fields of a form, as a model.

    Raises:
        Problem: 422, with the parts that are wrong; 413, there are too many parts to look at.
    """
    if isinstance(value, bytes) and has_more_values(value, _MOST_VALUES):
        raise Problem(
            413, "too_large", f"the body has more than {_MOST_VALUES:,} values; send less at a time"
        )
    try:
        return model.model_validate_json(value) if isinstance(value, bytes) else model.model_validate(value)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from error


def invalid(found: Any) -> Problem:
    """The answer to a body or parameters of another form than the schema's."""
    lines = [f"{_place(one['loc'])}{rule(one)}" for one in found[:5]]
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return Problem(422, "invalid", "; ".join(lines) + more)


def wrong_type(request: Request, *known: str) -> Problem:
    """The answer to a body of another type than the route reads."""
    given = media_type(request) or "nothing"
    return Problem(
        415, "bad_type", f"the header Content-Type says {given[:80]!r}; this needs {' or '.join(known)}"
    )


def as_json(document: Mapping[str, Any]) -> Response:
    """An answer; faster than by a model, for what is known to be right."""
    try:
        content = orjson.dumps(document)
    except TypeError:  # a file name that is not Unicode, or a number of more than 64 bits
        content = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(content, media_type=JSON)


def _place(location: tuple[str | int, ...]) -> str:
    path = ".".join(str(part) for part in location if part not in ("query", "path") or len(location) == 1)
    return f"{path}: " if path else ""
