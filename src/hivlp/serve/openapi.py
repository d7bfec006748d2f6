"""Adds the API key to the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_KEY = "key"
_OPEN = ("/healthz", "/readyz")


def describe_keys(app: FastAPI, *, needed: bool) -> None:
    """Adds the key to the document of an app, as required or as optional; health checks need no key."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[_KEY] = {"type": "http", "scheme": "bearer", "description": "One of HIVLP_API_KEYS."}
        document["security"] = [{_KEY: []}] if needed else [{_KEY: []}, {}]
        for path in _OPEN:
            document["paths"][path]["get"]["security"] = []
        return document

    app.openapi = openapi
