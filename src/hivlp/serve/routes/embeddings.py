"""``/v1/embeddings`` and ``/v1/models``, in OpenAI's form: vectors of texts and images at trained widths."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from hivlp.encode import Encoder
from hivlp.serve.openai import EmbeddingsBody, EmbeddingsModel, ModelCard, ModelsModel
from hivlp.serve.problems import Problem
from hivlp.serve.routes.bodies import as_json, body_of, errors, read_json
from hivlp.serve.schemas import MAX_ID
from hivlp.serve.service import Service
from hivlp.types import Embeddings, FloatArray

ModelName = Annotated[str, Path(max_length=MAX_ID, description="The name of a model.")]


def router(service: Service) -> APIRouter:
    """The routes over one service."""
    routes = APIRouter(tags=["embeddings"])

    @routes.post(
        "/v1/embeddings",
        response_model=EmbeddingsModel,
        responses=errors(404, 408, 413, 415, 504),
        openapi_extra=body_of(EmbeddingsBody),
    )
    async def embeddings(request: Request) -> Response:
        """Unit-length embeddings of texts and images."""
        body = await read_json(request, EmbeddingsBody)
        encoder = _encoder(service, body.model)
        width = _width(encoder, body.dimensions)
        inputs = body.input
        if len(inputs) > service.settings.max_queries:
            raise Problem(
                413,
                "too_large",
                f"{len(inputs)} inputs in one request; the limit is {service.settings.max_queries}",
            )

        def all_of_them() -> Awaitable[list[Embeddings]]:
            return asyncio.gather(
                *(service.embed(encoder, text=one.text, image=one.image_base64) for one in inputs)
            )

        made = await service.in_time(all_of_them)
        data = [_entry(n, one[width][0], body.encoding_format) for n, one in enumerate(made)]
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        return as_json({"object": "list", "data": data, "model": encoder.name, "usage": usage})

    @routes.get("/v1/models", response_model=ModelsModel, responses=errors())
    async def models() -> Response:
        """The models whose embeddings the service gives."""
        cards = [_card(encoder) for encoder in service.encoders().values()]
        return as_json({"object": "list", "data": cards})

    @routes.get("/v1/models/{name:path}", response_model=ModelCard, responses=errors(404))
    async def model(name: ModelName) -> Response:
        """One model."""
        return as_json(_card(_encoder(service, name)))

    return routes


def _card(encoder: Encoder) -> dict[str, Any]:
    return ModelCard(id=encoder.name, dimensions=list(encoder.widths)).model_dump()


def _encoder(service: Service, name: str | None) -> Encoder:
    encoders = service.encoders()
    if name is None:
        return next(iter(encoders.values()))
    if name not in encoders:
        raise Problem(404, "not_found", f"this service has no model {name!r}; it has {', '.join(encoders)}")
    return encoders[name]


def _width(encoder: Encoder, dimensions: int | None) -> int:
    if dimensions is None:
        return encoder.widths[-1]
    if dimensions not in encoder.widths:
        known = ", ".join(str(width) for width in encoder.widths)
        raise Problem(
            400, "bad_query", f"dimensions={dimensions} is invalid: this model has the widths {known}"
        )
    return dimensions


def _entry(index: int, vector_D: FloatArray, encoding: str) -> dict[str, Any]:
    if encoding == "base64":
        embedding: Any = base64.b64encode(np.ascontiguousarray(vector_D, "<f4").tobytes()).decode()
    else:
        embedding = [float(number) for number in vector_D]
    return {"object": "embedding", "index": index, "embedding": embedding}
