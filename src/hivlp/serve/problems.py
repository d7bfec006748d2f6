"""What can go wrong with a request, in words for people, and as the one form of error that the API has."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from hivlp.errors import DataError, FilterError, HivlpError, ImageError, QueryError

# Messages name what was sent, which can be megabytes.
_LONGEST = 2_000


class Problem(Exception):  # noqa: N818 - an answer, as often as not the right one
    """An answer other than 2xx.

    Attributes:
        status: of HTTP.
        code: a word that programs can compare.
        message: words for people: the value, the rule, the remedy.
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
        """The answer that carries it."""
        message = self.message if len(self.message) <= _LONGEST else f"{self.message[:_LONGEST]} …"
        error = {"code": self.code, "message": message, "request_id": request_id}
        content = json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")
        return Response(content, self.status, self.headers, "application/json")


def busy(message: str, *, retry_after_s: int = 1) -> Problem:
    """Too much at a time: try again."""
    return Problem(429, "busy", message, {"Retry-After": str(retry_after_s)})


def of_error(error: HivlpError) -> Problem:
    """The answer to what the library refuses; what only the owner of the service can mend stays vague."""
    if isinstance(error, ImageError):
        return Problem(422, "bad_image", str(error))
    if isinstance(error, FilterError):
        return Problem(400, "bad_filter", str(error))
    if isinstance(error, (QueryError, DataError)):
        return Problem(400, "bad_query", str(error))
    return Problem(
        503, "unavailable", "the index or its model can't be used now; the log of the service says why"
    )


def internal() -> Problem:
    """A bug: the log has it, the answer does not."""
    return Problem(
        500, "internal", "something went wrong in the service; its log has the details under this request_id"
    )
