"""Whether the match probabilities of a model mean what they say, on captions that nothing was fitted to.

    python benchmarks/match_check.py SOURCE [--split report] [--model MODEL]

As `hivlp tune` does, every caption is searched in the index with its picture, and in the index without the
pictures most like it. It is counted how often the picture was there in each range of probabilities. Prints
one JSON document.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hivlp import Index, load
from hivlp.data.sources import open_source
from hivlp.encode.base import Encoder, stored_match
from hivlp.stores.local import LocalStore
from hivlp.tune.match import best_scores
from hivlp.tune.queries import tuning_queries

RANGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
QUERIES = 1_000


def checked(encoder: Encoder, spec: str, split: str | None, *, seed: int = 0) -> dict[str, Any]:
    """The regression that the model carries, and what it says of some captions.

    Returns:
        ``slope``, ``intercept``, ``queries`` (those that it was fitted to); ``ranges``, each with the mean
        ``probability`` of its searches, the share of them whose picture was ``there``, and their ``count``;
        ``expected_error``, the mean distance of the two, weighted by the counts.
    """
    with TemporaryDirectory() as folder, Index.create(Path(folder) / "x.hivlp", encoder) as index:
        index.add(open_source(spec, split=split))
        assert isinstance(index.store, LocalStore)
        queries = tuning_queries(index.store, encoder, None, QUERIES, seed)
        assert queries.own_ids is not None, "the source has captions"
        row_of = index.store.rows_of(list(queries.own_ids))
        own_Q = np.array([row_of[name] for name in queries.own_ids], np.int64)
        scores_2Q = np.stack(best_scores(index.store.view(kind="image"), own_Q, queries.embeddings.fine))
    model = stored_match(encoder)
    if model is None:
        raise SystemExit(f"the model {encoder.name} carries no match probabilities")
    told_2Q = np.vectorize(model.probability)(scores_2Q)
    there_2Q = np.stack([np.ones_like(told_2Q[0]), np.zeros_like(told_2Q[0])])
    ranges = []
    for low, high in pairwise(RANGES):
        inside_2Q = (told_2Q >= low) & (told_2Q < high + (high == 1))
        if inside_2Q.any():
            probability, there = told_2Q[inside_2Q].mean(), there_2Q[inside_2Q].mean()
            ranges.append({"probability": probability, "there": there, "count": int(inside_2Q.sum())})
    error = sum(one["count"] * abs(one["probability"] - one["there"]) for one in ranges) / told_2Q.size
    return {**model.as_dict(), "ranges": ranges, "expected_error": error}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="pictures with captions, as `hivlp index` takes them")
    parser.add_argument("--split", help="only these of the source")
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    print(json.dumps(checked(load(options.model), options.source, options.split)))


if __name__ == "__main__":
    main()
