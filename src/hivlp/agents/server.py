"""The tools that a language model gets over one index; all of them only read.

The docstrings and field descriptions below are what the model is told, so they are written for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

from mcp.server.mcpserver import Image as ToolImage
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

import hivlp
from hivlp.data.originals import thumbnail
from hivlp.errors import HivlpError
from hivlp.index.summary import SAMPLE, fields, folders
from hivlp.retriever import Index
from hivlp.search.request import OPTIONS
from hivlp.types import Hit

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_MOST_HITS, _SIDE = 100, 1_024
_READ_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_INSTRUCTIONS = """
Search a collection of pictures (and texts) on this machine by words or by a picture of it. Start with
`facts` to learn what the collection holds and which dates, folders and metadata can be filtered by. `search`
gives ids; `look` shows the picture of an id; `more_like` finds pictures like it. Scores order the hits of one
search; they say little about how good a hit is. Look before you describe a picture.
"""

ItemId = Annotated[str, Field(description="The id of a hit.")]
Number = Annotated[int, Field(ge=1, le=_MOST_HITS, description="Number of hits.")]
Folder = Annotated[str | None, Field(description=OPTIONS["folder"].help)]
Since = Annotated[str | None, Field(description=OPTIONS["since"].help)]
Until = Annotated[str | None, Field(description=OPTIONS["until"].help)]
Where = Annotated[
    str | None,
    Field(description=f"{OPTIONS['where'].help} Names are those that `facts` lists. Texts stand in '…'."),
]


def agent_server(index: Index, *, name: str = "pictures") -> MCPServer:
    """A server with tools over an index; ``run("stdio")`` talks with the program that has started it.

    Args:
        index: an open index; it must stay open.
        name: of the collection, for the client.
    """
    server = MCPServer(name=name, instructions=_INSTRUCTIONS.strip(), version=hivlp.__version__)

    @_tool(server)
    def facts() -> dict[str, Any]:
        """What the collection holds: how many pictures, their folders and dates, metadata to filter by."""
        info, sample = index.store.info(), index.store.sample(SAMPLE)
        return {
            "items": info["items"],
            "kinds": info["kinds"],
            "model": index.encoder.name,
            "folders": folders(sample),
            "fields": fields(sample),
        }

    @_tool(server)
    def search(
        words: Annotated[
            str, Field(min_length=1, description="What the pictures show, in English: two dogs on a beach")
        ],
        k: Number = 10,
        folder: Folder = None,
        since: Since = None,
        until: Until = None,
        where: Where = None,
        newest_first: Annotated[bool, Field(description="Order the hits by date.")] = False,
    ) -> list[dict[str, Any]]:
        """Finds pictures by words, the best first. A minus keeps away from a word: dog -water."""
        sort = "date" if newest_first else "score"
        options: dict[str, Any] = {"folder": folder, "since": since, "until": until, "where": where}
        return [_described(hit) for hit in index.search(words, k, sort=sort, group=True, **options)]

    @_tool(server)
    def more_like(
        item: ItemId,
        k: Number = 10,
        words: Annotated[
            str | None, Field(description="What should be different about them: at night")
        ] = None,
    ) -> list[dict[str, Any]]:
        """Finds pictures like one of the collection, also with words that change it."""
        parts = [hivlp.Part(item=item), *([] if words is None else [hivlp.Part(text=words)])]
        return [_described(hit) for hit in index.search(parts, k, group=True)]

    @_tool(server)
    def look(item: ItemId) -> ToolImage:
        """Shows the picture of an id, at most 1,024 pixels wide and high."""
        (found,) = index.store.fetch([item])
        if found is None:
            raise ToolError(f"there is no item {item!r}: take an id that search gave")
        if found.kind != "image":
            raise ToolError(f"{item!r} is a text: {found.caption}")
        if found.sha256 is None:  # then nothing says that the file at its place is the picture
            raise ToolError(f"{item!r} was imported without its picture")
        small = thumbnail(index.place(found), sha256=found.sha256, side=_SIDE)
        return ToolImage(data=small, format="jpeg")

    return server


def _tool(server: MCPServer) -> Callable[[Callable[Arguments, Answer]], Callable[Arguments, Answer]]:
    """Registers a function as a tool that only reads; messages of the library reach the model."""

    def register(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
        @wraps(function)
        def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
            try:
                return function(*args, **kwargs)
            except HivlpError as error:
                raise ToolError(str(error)) from None

        server.tool(annotations=_READ_ONLY)(call)
        return call

    return register


def _described(hit: Hit) -> dict[str, Any]:
    """A hit in few words: a model reads every one of them."""
    facts = {"id": hit.id, "score": round(hit.score, 3), "kind": hit.kind, "caption": hit.caption}
    facts |= {"probability": None if hit.probability is None else round(hit.probability, 2)}
    facts |= {"taken_at": hit.meta.get("taken_at"), "near_equal": len(hit.similar) or None}
    return {name: value for name, value in facts.items() if value is not None}
