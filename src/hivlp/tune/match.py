"""Fits how likely a hit of a score is a match, from captions whose pictures are in the index."""

from __future__ import annotations

import numpy as np

from hivlp import search
from hivlp.index.vectors import cosines
from hivlp.plans import Plan
from hivlp.stores.local import LocalStore
from hivlp.tune.queries import TuningQueries
from hivlp.tune.statistics import logistic
from hivlp.tuned import MatchModel


def match_model(store: LocalStore, queries: TuningQueries, plan: Plan) -> MatchModel | None:
    """Fits how likely a hit of a score is a match; None where no query belongs to an item."""
    if queries.own_ids is None:
        return None
    view = store.view()
    own = store.rows_of(queries.own_ids)
    found = search.run(plan, queries.embeddings, view, 2)
    matches: list[float] = []
    others: list[float] = []
    level_ND = view.level(view.widths[-1])
    for query_D, name, result in zip(queries.embeddings.fine, queries.own_ids, found, strict=True):
        row = own[name]
        rest = result.scores[result.rows != row]
        if len(rest):
            matches.append(float(cosines(level_ND, np.array([row]), query_D)[0]))
            others.append(float(rest[0]))
    if not matches:
        return None
    slope, intercept = logistic(np.array(matches), np.array(others))
    return MatchModel(slope=slope, intercept=intercept, queries=len(matches))
