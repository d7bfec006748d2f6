"""HiVLP: coarse-to-fine image-text retrieval.

    import hivlp

    model = hivlp.load("mini")
    index = hivlp.Index.create("photos.hivlp", model)
    index.add("my/photos")
    hits = index.search("two dogs on a beach", k=10)
    print(hits[0].uri, hits[0].score)

The names below are loaded when they are first used, so that ``import hivlp`` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hivlp.data.sources import open_source as open_source
    from hivlp.encode import load as load
    from hivlp.errors import HivlpError as HivlpError
    from hivlp.ingest import AddReport as AddReport
    from hivlp.retriever import Index as Index
    from hivlp.retriever import import_index as import_index
    from hivlp.search.plan import Plan
    from hivlp.search.query import Part
    from hivlp.types import Embeddings as Embeddings
    from hivlp.types import Hit as Hit
    from hivlp.types import Hits as Hits
    from hivlp.types import Item as Item
    from hivlp.types import Sample as Sample

    __version__: str

_HOMES = {
    "AddReport": "hivlp.ingest",
    "Embeddings": "hivlp.types",
    "Hit": "hivlp.types",
    "Hits": "hivlp.types",
    "HivlpError": "hivlp.errors",
    "Index": "hivlp.retriever",
    "Item": "hivlp.types",
    "Part": "hivlp.search.query",
    "Plan": "hivlp.search.plan",
    "Sample": "hivlp.types",
    "import_index": "hivlp.retriever",
    "load": "hivlp.encode",
    "open_source": "hivlp.data.sources",
}

__all__ = [
    "AddReport",
    "Embeddings",
    "Hit",
    "Hits",
    "HivlpError",
    "Index",
    "Item",
    "Part",
    "Plan",
    "Sample",
    "__version__",
    "import_index",
    "load",
    "open_source",
]


def _version() -> str:
    from importlib import metadata  # slow to load, and seldom asked for

    try:
        return metadata.version("hivlp")
    except metadata.PackageNotFoundError:  # a source tree on the path, never installed
        return "0.0.0+source"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'hivlp' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
