"""How a score becomes the probability of a match; kept with a model, and with a tuned index."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hivlp.errors import ModelError
from hivlp.files import write_atomically


@dataclass(frozen=True, kw_only=True)
class MatchModel:
    """How likely a hit of a score is a match: 1 / (1 + exp(-(slope·score + intercept))).

    Fitted to the best scores of captions in the index, which holds their pictures, and in the index without
    the pictures that are most like those, half of each. So a probability answers "does this index hold what I
    look for?" with even chances beforehand; it does not answer "is it this very picture?".
    """

    slope: float
    intercept: float
    queries: int

    def probability(self, score: float) -> float:
        """In [0, 1]; grows with the score."""
        return 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, self.slope * score + self.intercept))))

    def as_dict(self) -> dict[str, Any]:
        return {"slope": self.slope, "intercept": self.intercept, "queries": self.queries}

    @staticmethod
    def read(path: Path) -> MatchModel | None:
        """What `write` wrote; None where there is nothing. Raises ModelError where it can't be read."""
        try:
            return MatchModel.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path} can't be read ({error}); copy the model folder again, or remove this file"
            ) from None

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        write_atomically(path, (json.dumps(self.as_dict()) + "\n").encode())

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> MatchModel:
        slope, intercept = float(record["slope"]), float(record["intercept"])
        return MatchModel(slope=slope, intercept=intercept, queries=int(record["queries"]))
