"""Error responses of the API, all in one form."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from hivlp.errors import DataError, FilterError, HivlpError, ImageError, QueryError

# A message quotes the request, which can have megabytes.
_LONGEST = 2_000


class Problem(Exception):  # noqa: N818 - a response, often the right one
    """A response other than 2xx.

    Attributes:
        status: the HTTP status.
        code: an error code for programs.
        message: a message for people: the value, the rule, the remedy.
        headers: such as ``Retry-After``.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def response(self, request_id: str) -> Response:
        """The HTTP response."""
        message = self.message if len(self.message) <= _LONGEST else f"{self.message[:_LONGEST]} …"
        error = {"code": self.code, "message": message, "request_id": request_id}
        content = json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")
        return Response(content, self.status, self.headers, "application/json")


def busy(message: str, *, retry_after_s: int = 1) -> Problem:
    """429: the service is overloaded."""
    return Problem(429, "busy", message, {"Retry-After": str(retry_after_s)})


def of_error(error: HivlpError) -> Problem:
    """The response to an error of the library; errors that only the operator can fix show no details."""
    if isinstance(error, ImageError):
        return Problem(422, "bad_image", str(error))
    if isinstance(error, FilterError):
        return Problem(400, "bad_filter", str(error))
    if isinstance(error, (QueryError, DataError)):
        return Problem(400, "bad_query", str(error))
    return Problem(503, "unavailable", "the index or its model can't be used now; see the log of the service")


def internal() -> Problem:
    """500, a bug: the details are in the log, not in the response."""
    return Problem(
        500, "internal", "internal error: the log of the service has the details under this request_id"
    )
