"""``hivlp fit-levels``: levels for a frozen encoder, learned from its stored vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hivlp.cli import output

if TYPE_CHECKING:
    from rich.console import Console


def fit_levels(
    model: Annotated[
        str, typer.Option("--model", help="mini, a model folder, or hf:owner/name; it stays frozen.")
    ],
    data: Annotated[
        str, typer.Option("--data", help="A source of pictures with captions; see `hivlp index --help`.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; the model is written to DIR/model.")],
    widths: Annotated[
        str, typer.Option(help="Widths of the levels to make, besides the encoder's own width.")
    ] = "32,64,128",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one setting: name=value. Repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per batch while encoding.")] = 32,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Give a frozen encoder levels: encode once, learn, and ship the best method at each width.

    Each width is tried as a plain prefix, as a prefix of a PCA rotation, and learned. A second run with
    the same --out reuses the stored vectors. Needs the extra 'train'.
    """
    from hivlp.config import FitLevelsConfig, apply_overrides, parse
    from hivlp.fit_levels.run import fit_levels as fit

    values = {"widths": [word.strip() for word in widths.split(",") if word.strip()]}
    config = parse(FitLevelsConfig, apply_overrides(values, set_ or []), where="hivlp fit-levels")
    document = fit(
        model,
        data,
        config,
        out=out,
        workers=workers,
        batch_size=batch_size,
        progress=lambda line, *_: output.say(line),
    )
    output.show_failures(document["failed"])
    output.answer(document, json=json, human=lambda console: _show(console, document))


def _show(console: Console, document: dict[str, Any]) -> None:
    from rich.table import Table

    methods = ("kept", "truncated", "pca", "learned", *(("rotated",) if document["binary"] else ()))
    table = Table(box=None, pad_edge=False)
    for title in ("width", "ships", *(f"AR {method}" for method in methods)):
        table.add_column(title, justify="right")
    for width, level in document["levels"].items():
        cells = [f"{level[method]['AR']:.2f}" if method in level else "" for method in methods]
        table.add_row(width, level["shipped"], *cells)
    console.print(table)
    console.print(
        f"{document['model']}: {document['steps']:,} steps in {document['seconds']:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
