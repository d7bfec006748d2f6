"""The HTTP service: an API over one or several indexes, and a page for people. ``create_app`` makes it."""

from hivlp.serve.app import create_app
from hivlp.serve.settings import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
