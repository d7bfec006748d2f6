"""State of the service: statistics, health, readiness, metrics."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

import hivlp
from hivlp.serve.problems import Problem
from hivlp.serve.routes.bodies import as_json, errors
from hivlp.serve.service import Service


def router(service: Service) -> APIRouter:
    """The routes over one service."""
    routes = APIRouter(tags=["state"])
    settings = service.settings

    @routes.get("/v1/stats", responses=errors())
    async def stats() -> Response:
        """The indexes, their metadata to filter by, and the limits."""
        return as_json(
            {
                "version": hivlp.__version__,
                "indexes": [served.facts for served in service.served.values() if served.facts],
                "limits": {
                    "k": settings.max_k,
                    "queries": settings.max_queries,
                    "body_bytes": settings.max_body_bytes,
                    "image_bytes": settings.max_image_bytes,
                    "image_pixels": settings.max_image_pixels,
                },
                "needs_key": bool(settings.keys),
            }
        )

    @routes.get("/healthz")
    async def health() -> Response:
        """The process is alive."""
        return as_json({"status": "ok"})

    @routes.get("/readyz", responses={503: errors()[503]})
    async def readiness() -> Response:
        """Every index was searched once, so the next search is fast."""
        if not service.is_ready():
            raise Problem(
                503, "not_ready", "the service is warming up: try again in a moment", {"Retry-After": "1"}
            )
        return as_json({"status": "ready"})

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes
