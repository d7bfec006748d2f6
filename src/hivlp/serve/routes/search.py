"""``/v1/search``: by words, an image, an item, or a mix of these; one query or several."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from hivlp.search.query import Part
from hivlp.serve.problems import Problem
from hivlp.serve.routes.bodies import (
    FORM,
    JSON,
    as_json,
    body_of,
    checked,
    errors,
    media_type,
    query_of,
    read_form,
    wrong_type,
)
from hivlp.serve.schemas import (
    AnswerModel,
    AnswersModel,
    SearchBody,
    SearchesBody,
    SearchFields,
    SearchForm,
    SearchParameters,
)
from hivlp.serve.service import Service


def router(service: Service) -> APIRouter:
    """The routes over one service."""
    routes = APIRouter(tags=["search"])

    async def answer(fields: SearchFields, parts: Sequence[Part]) -> dict[str, Any]:
        served = service.find(fields.index)
        hits = await service.search(served, parts, fields.request())
        return {**hits.as_dict(), "index": served.name}

    @routes.get(
        "/v1/search",
        response_model=AnswerModel,
        responses=errors(404, 504),
        openapi_extra=query_of(SearchParameters),
    )
    async def search(request: Request) -> Response:
        """The items that fit words or an item best."""
        fields = checked(SearchParameters, request.query_params)
        return as_json(await service.in_time(lambda: answer(fields, fields.parts())))

    @routes.post(
        "/v1/search",
        response_model=AnswerModel | AnswersModel,
        responses=errors(404, 408, 413, 415, 504),
        openapi_extra=body_of(SearchBody, SearchesBody, form=SearchForm),
    )
    async def search_by_body(request: Request) -> Response:
        """The items that fit a query best: words, an image, an item, a mix, or several queries at once."""
        kind = media_type(request)
        if kind == FORM:
            image, form_fields = await read_form(request)
            form = checked(SearchForm, form_fields)
            return as_json(await service.in_time(lambda: answer(form, form.parts(image))))
        if kind != JSON:
            raise wrong_type(request, JSON, FORM)
        body = await request.body()
        if not _has_queries(body):
            fields = checked(SearchBody, body)
            return as_json(await service.in_time(lambda: answer(fields, fields.parts())))
        several = checked(SearchesBody, body)
        depth = several.request().depth
        if len(several.queries) > service.settings.max_queries:
            raise Problem(
                413,
                "too_large",
                f"{len(several.queries)} queries in one request; the limit is {service.settings.max_queries}",
            )

        most = service.settings.max_hits
        if len(several.queries) * depth > most:
            raise Problem(
                413,
                "too_large",
                f"{len(several.queries)} queries with {depth:,} hits each may find more than {most:,} items, "
                "the limit of one request: send fewer queries, or a smaller k",
            )

        def all_of_them() -> Awaitable[list[dict[str, Any]]]:
            return asyncio.gather(*(answer(several, query.parts()) for query in several.queries))

        return as_json({"results": await service.in_time(all_of_them)})

    return routes


def _has_queries(body: bytes) -> bool:
    """Whether a body has several queries; a wrong guess only makes an error message less specific."""
    return b'"queries"' in body
