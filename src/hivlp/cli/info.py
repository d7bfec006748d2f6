"""``hivlp info``: what an index or a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hivlp.cli import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


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
    """Tell what an index or a model is."""
    document = _of_index(what) if (Path(what) / "manifest.json").exists() else _of_model(what)
    output.answer(document, json=json, human=lambda console: _show(console, document))


def _of_index(path: str) -> dict[str, Any]:
    from hivlp.stores.local import LocalStore

    with LocalStore.open(path) as store:
        return {"kind": "index", "path": path, **store.info()}


def _of_model(model: str) -> dict[str, Any]:
    from hivlp.encode import load
    from hivlp.encode.base import device_of

    encoder = load(model)
    return {
        "kind": "model",
        "name": encoder.name,
        "fingerprint": encoder.fingerprint,
        "widths": list(encoder.widths),
        "device": device_of(encoder),
        "preprocessing": encoder.preprocessing.model_dump(mode="json"),
    }


def _show(console: Console, document: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for key, value in document.items():
        table.add_row(key.replace("_", " "), Text(_words(value)))
    console.print(table)


def _words(value: Any) -> str:
    """A value of the document for people: numbers with separators, lists in a line, mappings line by line."""
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_words(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:,}" if type(value) is int else str(value)
