"""How a score becomes a match probability; stored with a model and with a tuned index."""

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
    """Probability that a hit is a match: 1 / (1 + exp(-(slope·score + intercept))).

    Fitted to the best scores of captions, half of them in an index that holds their images and half in the
    index
    without the images most like those. So the probability answers "does this index hold an image of these
    words?" with even prior odds; it does not answer "is it exactly this image?".
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
        """The stored match model; None without a file. Raises ModelError for an invalid file."""
        try:
            return MatchModel.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path} is not a valid match model ({error}): copy the model again, or remove this file"
            ) from None

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        write_atomically(path, (json.dumps(self.as_dict()) + "\n").encode())

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> MatchModel:
        slope, intercept = float(record["slope"]), float(record["intercept"])
        return MatchModel(slope=slope, intercept=intercept, queries=int(record["queries"]))
