"""Brings the pictures and texts of a source into a store: new ones are encoded, known ones skipped, lost ones
removed on request.

It knows sources, encoders and stores; it opens none of them. `retriever.Index` is its only caller.
"""

from hivlp.ingest.pictures import add
from hivlp.ingest.pruning import Pruned, count_gone, prune
from hivlp.ingest.report import AddReport
from hivlp.ingest.texts import add_texts, text_id, text_samples

__all__ = ["AddReport", "Pruned", "add", "add_texts", "count_gone", "prune", "text_id", "text_samples"]
