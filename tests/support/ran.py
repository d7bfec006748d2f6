"""What a run of the command line gave, for the tests of all commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ran:
    """One finished run of the command line."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document that the last line of stdout must be."""
        return json.loads(self.out.splitlines()[-1])
