"""The encoder of an index: loaded by name, and in the runtime that made the vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hivlp import exchange
from hivlp.encode import load
from hivlp.encode.base import runtime_of
from hivlp.errors import ModelError
from hivlp.progress import Shown, shown

if TYPE_CHECKING:
    from hivlp.encode import Encoder
    from hivlp.stores.base import Store


def import_index(
    folder: str | Path,
    out: str | Path,
    model: str | Path | Encoder | None = None,
    *,
    ids: str | Path | None = None,
    strict: bool = False,
    progress: Shown = None,
) -> dict[str, Any]:
    """Makes an index at `out` from a folder that `Index.export` or clip-retrieval wrote, or from a file .npy.

    Args:
        folder: the exported folder.
        out: the index folder to make.
        model: the model that made the vectors; needed if the folder does not name it, else compared with it.
        ids: a list of ids in the order of the vectors, in place of the folder's metadata.
        strict: refuse a folder with a bad vector or a repeated id.
        progress: True shows a bar; or a function, see `types.Progress`. It counts items.

    Returns:
        ``index``, ``items``, ``kinds``, ``widths``, ``failed`` and ``notes``. See `exchange.import_index`.
    """
    made_by = None
    if model is not None:
        encoder = loaded(model)
        made_by = exchange.ModelRecord(
            name=lasting_name(encoder),
            fingerprint=encoder.fingerprint,
            widths=encoder.widths,
            preprocessing=encoder.preprocessing.model_dump(mode="json"),
        )
    with shown(progress, "importing") as advance:
        return exchange.import_index(folder, out, model=made_by, ids=ids, strict=strict, progress=advance)


def loaded(model: str | Path | Encoder, *, runtime: str | None = None, threads: int = 0) -> Encoder:
    """A model by its name or folder, or a loaded encoder. Raises ModelError as `encode.load`."""
    if not isinstance(model, (str, Path)):
        if not hasattr(model, "fingerprint"):
            raise ModelError(
                f"{model!r:.40} ({type(model).__name__}) is not a model: give a name, such as 'mini', the "
                "folder of a model, or what hivlp.load returns"
            )
        return model
    return load(model, runtime=runtime, threads=threads)


def lasting_name(encoder: Encoder) -> str:
    """The name for the manifest, by which `open` can load the model from any working directory."""
    return str(Path(encoder.name).resolve()) if Path(encoder.name).is_dir() else encoder.name


def loaded_for(store: Store, model: str | Path | Encoder, threads: int) -> Encoder:
    """The encoder for a store, in the runtime that made its vectors. Raises ModelError."""
    try:
        return loaded(model, runtime=runtime_of(store.model_fingerprint), threads=threads)
    except ModelError as error:
        if model != store.model_name:
            raise
        raise ModelError(
            f"the index was made with the model {store.model_name!r}, which can't be loaded: {error}. "
            "Give the path of that model with --model, or model=..."
        ) from error
