"""`Index`, where an encoder meets a store: what users hold. It knows no file format and no ranking."""

from hivlp.retriever.index import Index, notes_on
from hivlp.retriever.models import import_index

__all__ = ["Index", "import_index", "notes_on"]
