"""Fits the match probabilities of a finished model on validation images, and stores them in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hivlp.config import MATCH_FILE
from hivlp.data.sources import Source
from hivlp.encode import Encoder
from hivlp.match import MatchModel
from hivlp.retriever import Index
from hivlp.stores.local import LocalStore
from hivlp.tune.match import match_model
from hivlp.tune.queries import LEAST, tuning_queries

QUERIES = 500


def calibrate(encoder: Encoder, sources: Sequence[Source], folder: Path) -> MatchModel | None:
    """Fits match probabilities on the first source with enough captions, and writes them into `folder`.

    They hold for similar collections; `hivlp tune` fits them for another one.
    """
    (folder / MATCH_FILE).unlink(missing_ok=True)  # of the weights that were here before
    for source in sources:
        if sum(bool(sample.captions) for sample in source) < LEAST:
            continue
        with TemporaryDirectory() as place, Index.create(Path(place) / "x.hivlp", encoder) as index:
            assert isinstance(index.store, LocalStore)
            index.add(source)
            found = match_model(index.store, tuning_queries(index.store, encoder, None, QUERIES, 0))
        if found is not None:
            found.write(folder / MATCH_FILE)
            return found
    return None
