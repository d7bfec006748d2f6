"""Puts the service together: routes, door, page, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, Response
from starlette.routing import Match, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import hivlp
from hivlp.errors import HivlpError
from hivlp.retriever import Index
from hivlp.serve.document import tell_of_keys
from hivlp.serve.guard import Guard
from hivlp.serve.keys import Rate
from hivlp.serve.metrics import Metrics
from hivlp.serve.problems import Problem, internal, of_error
from hivlp.serve.routes import embeddings, items, search, state
from hivlp.serve.routes.bodies import invalid
from hivlp.serve.service import Service
from hivlp.serve.settings import Settings
from hivlp.serve.shared import Shared

_log = logging.getLogger("hivlp.serve")

_PAGE = Path(str(files("hivlp.serve"))) / "page"


def create_app(
    indexes: Mapping[str, Index], settings: Settings | None = None, shared: Shared | None = None
) -> FastAPI:
    """The service over some indexes, as an ASGI application. It closes them when it ends.

    Args:
        indexes: by the names that requests use; the first one is taken where a request names none.
        settings: keys, limits and times; None takes the safe ones for one machine.
        shared: what it has in common with the other processes, where it is one of several.
    """
    settings = settings or Settings()
    metrics = Metrics(shared)
    service = Service(indexes, settings, metrics, shared)
    app = FastAPI(
        title="HiVLP",
        summary="Coarse-to-fine image-text retrieval",
        version=hivlp.__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load code from another site
        redoc_url=None,
        redirect_slashes=False,  # the address to go to would be made of the header Host
        lifespan=lambda app: _life(service, alone=shared is None),
    )
    for part in (search, items, embeddings, state):
        app.include_router(part.router(service))
    _shorten(app, search.router(service))
    tell_of_keys(app, needed=bool(settings.keys))
    _add_page(app)
    _add_errors(app)
    rate = Rate(settings.rate_per_s, None if shared is None else shared.rates)
    app.add_middleware(Guard, settings=settings, metrics=metrics, rate=rate)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app


@asynccontextmanager
async def _life(service: Service, *, alone: bool) -> AsyncIterator[None]:
    beside = [asyncio.create_task(_warm_up(service)), asyncio.create_task(_keep_fresh(service))]
    if not alone:  # the others answer meanwhile; alone it says that it is not ready
        await beside[0]
    try:
        yield
    finally:
        for task in beside:
            task.cancel()
        for task in beside:
            with suppress(asyncio.CancelledError):
                await task
        service.close()


async def _warm_up(service: Service) -> None:
    try:
        await service.warm_up()
    except Exception:
        _log.exception("warming up failed; the service stays unready")


async def _keep_fresh(service: Service) -> None:
    while True:
        await asyncio.sleep(service.settings.refresh_s)
        try:
            await service.refresh()
        except Exception:
            _log.exception("an index could not be refreshed; searches go on in what was read before")


def _shorten(app: FastAPI, router: APIRouter) -> None:
    """Puts plain routes before those of FastAPI, which then are there for the document only.

    They read the request and make the answer themselves. FastAPI's routing and its empty dependencies take a
    tenth of the time that a search holds the event loop.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            app.router.routes.insert(0, _Plain(route.path, route.endpoint, methods=list(route.methods or ())))


class _Plain(Route):
    """A route that is known to what counts requests, as those of FastAPI are."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_PAGE / "index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return FileResponse(_PAGE / "icon.svg", media_type="image/svg+xml")

    app.mount("/page", StaticFiles(directory=_PAGE))


def _add_errors(app: FastAPI) -> None:
    def told(request: Request, problem: Problem) -> Response:
        return problem.response(request.state.request_id)

    @app.exception_handler(Problem)
    async def refused(request: Request, error: Problem) -> Response:
        return told(request, error)

    @app.exception_handler(HivlpError)
    async def failed(request: Request, error: HivlpError) -> Response:
        problem = of_error(error)
        if problem.status >= 500:
            _log.error("request %s: %s", request.state.request_id, error)
        return told(request, problem)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return told(request, invalid(error.errors()))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        words = {404: "there is nothing at this path", 405: "this path does not know this method"}
        if error.status_code >= 500:
            return told(request, internal())
        code = {404: "not_found", 405: "bad_method"}.get(error.status_code, "bad_request")
        message = words.get(error.status_code, str(error.detail))
        return told(request, Problem(error.status_code, code, message, error.headers))
