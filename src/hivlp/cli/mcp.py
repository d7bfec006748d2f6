"""``hivlp mcp``: an index as tools of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.errors import MissingExtraError


def mcp(
    index: Annotated[Path, typer.Argument(help="An index folder that `hivlp index` made.")],
    model: Annotated[
        str | None, typer.Option(help="Path of the model that made the index, if it has moved.")
    ] = None,
    debug: output.DebugOption = False,
) -> None:
    """Give a language model tools to search an index: a server of the Model Context Protocol over stdio.

    The program that talks with the model starts this command. The tools search, show pictures and list what
    can be filtered by; none of them changes anything.
    """
    try:
        from hivlp.agents import agent_server
    except ModuleNotFoundError as error:
        if error.name is not None and not error.name.startswith("mcp"):
            raise
        raise MissingExtraError("mcp", "mcp", "hivlp mcp") from None
    from hivlp.retriever import Index

    with Index.open(index, model) as opened:
        output.say(f"{index}: {len(opened):,} items; waiting for a client on standard input (Ctrl-C stops)")
        agent_server(opened, name=index.name.removesuffix(".hivlp")).run("stdio")
