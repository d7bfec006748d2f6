"""Assembles the service: routes, guard, page and background tasks."""

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
from hivlp.serve.guard import Guard
from hivlp.serve.keys import Rate
from hivlp.serve.metrics import Metrics
from hivlp.serve.openapi import describe_keys
from hivlp.serve.problems import Problem, internal, of_error
from hivlp.serve.routes import embeddings, items, search, state
from hivlp.serve.routes.bodies import invalid
from hivlp.serve.service import Service
from hivlp.serve.settings import ServiceSettings
from hivlp.serve.shared_folder import SharedFolder

_log = logging.getLogger("hivlp.serve")

_PAGE = Path(str(files("hivlp.serve"))) / "page"


def create_app(
    indexes: Mapping[str, Index],
    settings: ServiceSettings | None = None,
    shared_folder: SharedFolder | None = None,
) -> FastAPI:
    """The service over some indexes, as an ASGI application. It closes them when it ends.

    Args:
        indexes: by the names that requests use; a request without a name uses the first.
        settings: keys, limits and times; None for the defaults, which are safe for one machine.
        shared_folder: shared with the other processes, where the service has several.
    """
    settings = settings or ServiceSettings()
    metrics = Metrics(shared_folder)
    service = Service(indexes, settings, metrics, shared_folder)
    app = FastAPI(
        title="HiVLP",
        summary="Coarse-to-fine image-text retrieval",
        version=hivlp.__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # these pages load code from another site
        redoc_url=None,
        redirect_slashes=False,  # the target would be built from the header Host
        lifespan=lambda app: _lifespan(service, alone=shared_folder is None),
    )
    for part in (search, items, embeddings, state):
        app.include_router(part.router(service))
    _bypass_fastapi(app, search.router(service))
    describe_keys(app, needed=bool(settings.keys))
    _add_page(app)
    _add_errors(app)
    rate = Rate(settings.rate_per_s, None if shared_folder is None else shared_folder.rates)
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
async def _lifespan(service: Service, *, alone: bool) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(_warm_up(service)), asyncio.create_task(_keep_fresh(service))]
    if not alone:  # meanwhile the other processes answer; a single process answers that it is not ready
        await tasks[0]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
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
            _log.exception("an index could not be refreshed; searches go on with its earlier state")


def _bypass_fastapi(app: FastAPI, router: APIRouter) -> None:
    """Puts plain routes before those of FastAPI, which then only serve the OpenAPI document.

    They read the request and make the response themselves. FastAPI's routing and its empty dependencies take
    a tenth of the time that a search occupies the event loop.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            app.router.routes.insert(0, _Plain(route.path, route.endpoint, methods=list(route.methods or ())))


class _Plain(Route):
    """A plain route that the metrics can name, as they name those of FastAPI."""

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
    def respond(request: Request, problem: Problem) -> Response:
        return problem.response(request.state.request_id)

    @app.exception_handler(Problem)
    async def refused(request: Request, error: Problem) -> Response:
        return respond(request, error)

    @app.exception_handler(HivlpError)
    async def failed(request: Request, error: HivlpError) -> Response:
        problem = of_error(error)
        if problem.status >= 500:
            _log.error("request %s: %s", request.state.request_id, error)
        return respond(request, problem)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return respond(request, invalid(error.errors()))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        messages = {404: "this path does not exist", 405: "this path does not support this method"}
        if error.status_code >= 500:
            return respond(request, internal())
        code = {404: "not_found", 405: "bad_method"}.get(error.status_code, "bad_request")
        message = messages.get(error.status_code, str(error.detail))
        return respond(request, Problem(error.status_code, code, message, error.headers))
