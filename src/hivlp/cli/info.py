"""``hivlp info``: the facts of an index or a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hivlp.cli import output
from hivlp.errors import ModelError, QueryError
from hivlp.messages import counted

if TYPE_CHECKING:
    from rich.console import Console

# known to a long-running process only: this command has not built a coarse index
_WHILE_IT_RUNS = {"coarse_bytes"}
_CONFIG = "config.json"
_PACK_FILE = "pixels.u8"


def info(
    what: Annotated[
        str,
        typer.Argument(
            metavar="INDEX|MODEL", help="An index folder, mini, a model folder, or hf:owner/name."
        ),
    ],
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Show the facts of an index or a model."""
    from hivlp.index.layout import looks_like_index

    document = _of_index(what) if looks_like_index(what) else _of_model(what)
    output.answer(document, json=json, human=lambda console: _show(console, document))


def check_is_model(what: str) -> None:
    """Refuses a path that is not an index but has a manifest, with the reason: a pack, or a damaged index.

    Raises:
        QueryError: it is a training pack.
        IndexFolderError: it is a damaged index, or another folder of hivlp.
    """
    from hivlp.index.layout import MANIFEST
    from hivlp.stores.local import LocalStore

    if (Path(what) / _PACK_FILE).is_file():
        raise QueryError(
            f"{what} is a training pack: the decoded images of a training run, neither an index nor a model. "
            "Give the run's folder `model`, or an index that `hivlp index` made"
        )
    if (Path(what) / MANIFEST).is_file():
        LocalStore.open(what).close()  # says what is wrong with it


def _of_index(path: str) -> dict[str, Any]:
    from hivlp.stores.local import LocalStore

    with LocalStore.open(path) as store:
        return {"kind": "index", "path": path, **store.info()}


def _of_model(model: str) -> dict[str, Any]:
    from hivlp.encode import load
    from hivlp.encode.base import device_of, shipped_models
    from hivlp.encode.hub import PREFIX

    check_is_model(model)
    if not (model.startswith(PREFIX) or model in shipped_models() or (Path(model) / _CONFIG).is_file()):
        raise ModelError(_neither(model))
    encoder = load(model)
    return {
        "kind": "model",
        "name": encoder.name,
        "fingerprint": encoder.fingerprint,
        "widths": list(encoder.widths),
        "device": device_of(encoder),
        "preprocessing": encoder.preprocessing.model_dump(mode="json"),
    }


def _neither(what: str) -> str:
    from hivlp.encode.base import shipped_models

    names = f"the name of a shipped model ({', '.join(shipped_models())}), or hf:owner/name"
    if Path(what).exists():
        return (
            f"{what} is neither an index (it has no manifest.json) nor a model (it has no {_CONFIG}): give "
            f"the folder that `hivlp index` or `hivlp train` made, {names}"
        )
    return f"{what!r} does not exist, neither as an index nor as a model: check the path, or give {names}"


def _show(console: Console, document: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for key, value in document.items():
        if value is not None and key not in _WHILE_IT_RUNS:
            table.add_row(key.replace("_", " "), Text(_PLAINLY.get(key, _words)(value)))
    console.print(table)


def _words(value: Any) -> str:
    """A value of the document for people: numbers with separators, lists in a line, mappings line by line."""
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_words(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:,}" if type(value) is int else str(value)


_PLAINLY: Mapping[str, Callable[[Any], str]] = {
    "rotation": lambda made: (
        f"the levels up to {made['width']} are those of a PCA rotation, "
        f"fitted on {counted(made['fitted_on'], 'item')}"
    ),
    "tuned": lambda is_tuned: "yes" if is_tuned else "no; see hivlp tune --help",
}
