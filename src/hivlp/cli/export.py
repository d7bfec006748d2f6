"""``hivlp export``: a model as ONNX graphs, or an index as a folder of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hivlp.cli import output
from hivlp.errors import QueryError
from hivlp.messages import counted


def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|INDEX", help="mini, a model folder, hf:owner/name, or an index folder."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder to write. Without it, a model folder gets its graphs where it is; the models of "
            "the package and of the hub, and indexes, need it."
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="For a model: also write graphs with 8-bit weights, and measure their loss."
        ),
    ] = False,
    shard_size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="NUMBER", help="For an index: number of rows per file. Default: 1,000,000."
        ),
    ] = None,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Write a model as ONNX graphs, or an index as .npy and .parquet files in clip-retrieval's layout.

    With --out, every model becomes a model folder that needs no other file: graphs, weights, tokenizer and
    preprocessing. The commands index and search run it without torch; writing it needs the extra 'train' of
    hivlp. Exporting an index needs the extra 'parquet'.
    """
    from hivlp.cli.info import check_is_model
    from hivlp.index.layout import looks_like_index

    if looks_like_index(what):
        if int8:
            raise QueryError(f"{what} is an index, and --int8 is for models: leave it out")
        document, lines = _index(what, out, shard_size)
    else:
        check_is_model(what)
        if shard_size is not None:
            raise QueryError(f"{what} is not an index, and --shard-size is for indexes: leave it out")
        document, lines = _model(what, out, int8=int8)
    output.answer(document, json=json, human=lambda console: output.print_lines(console, *lines))


def _model(model: str, out: Path | None, *, int8: bool) -> tuple[dict[str, Any], list[str]]:
    from hivlp.encode.base import model_source
    from hivlp.encode.hub import model_kind

    folder = model_source(model)  # before what may not be installed
    in_place = out is None or (model_kind(folder) == "hivlp" and out.resolve() == folder.resolve())
    if in_place:
        _check_may_change(model, folder)
    output.say("writing graphs and comparing them with torch" + (", then in 8 bits: minutes" if int8 else ""))
    if out is None or in_place:
        from hivlp.export.graphs import export as write

        document = write(folder, int8=int8)
    else:
        from hivlp.export.standalone import standalone

        document = standalone(model, out, int8=int8)
    wrote = [f"wrote {file}" for file in document["files"]]
    if "source_cosine" in document:
        wrote.append(f"lowest cosine to {model}: {document['source_cosine']}")
    wrote.append(f"largest difference from torch: {document['max_abs_diff']:.2e}")
    if "int8" in document:
        loss = document["int8"]
        wrote.append(
            f"mean cosine of 8 bits to float32: images {loss['image_cosine']}, texts {loss['text_cosine']}"
        )
    return document, wrote


def _check_may_change(model: str, folder: Path) -> None:
    """Raises QueryError for a model into whose own folder nothing may be written."""
    from hivlp.encode.base import assets
    from hivlp.encode.hub import model_kind

    if folder.resolve().is_relative_to(assets().resolve()):
        raise QueryError(f"{model} is part of the package and is not changed: name a folder with --out DIR")
    if model_kind(folder) != "hivlp":
        raise QueryError(
            f"{model} is a model of transformers, or levels on top of one, and is not changed: name "
            "the model folder to write with --out DIR"
        )


def _index(index: str, out: Path | None, shard_size: int | None) -> tuple[dict[str, Any], list[str]]:
    from hivlp.exchange import SHARD_SIZE, export_index
    from hivlp.stores.local import LocalStore

    if out is None:
        raise QueryError(f"{index} is an index: name the folder to write with --out DIR")
    with LocalStore.open(index) as store, output.progress("exporting") as advance:
        document = export_index(store, out, shard_size=shard_size or SHARD_SIZE, progress=advance)
    items, files = counted(document["items"], "item"), counted(len(document["files"]), "file")
    return document, [f"wrote {items} as {files} to {out}"]
