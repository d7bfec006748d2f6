"""Hits as HTML with small pictures inside, for notebooks; it knows neither indexes nor models."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from pathlib import Path

from hivlp.data.images import decode
from hivlp.data.originals import read_original
from hivlp.errors import DataError
from hivlp.messages import counted
from hivlp.types import Hit, Hits

MOST = 24  # pictures of an output, which the notebook's file keeps
SIDE = 144  # pixels
QUALITY = 80
_LONGEST = 200  # characters of a caption

_ROW = "display:flex;flex-wrap:wrap;gap:12px"
_FIGURE = f"margin:0;width:{SIDE}px;font:13px/1.35 system-ui,sans-serif;overflow-wrap:anywhere"
_TILE = f"height:{SIDE}px;display:flex;align-items:center;justify-content:center"


def html(hits: Hits) -> str:
    """The first hits with their pictures, the number of the others, and the notes of the search.

    Args:
        hits: those of one query.

    Returns:
        HTML that needs no other file. Every text in it is escaped, and a picture that can't be read is
        replaced by words.
    """
    figures = "".join(_figure(hit) for hit in hits[:MOST])
    lines = [*hits.notes]
    if len(hits) > MOST:
        lines.append(f"and {counted(len(hits) - MOST, 'hit')} more")
    if not hits.hits and not hits.notes:
        lines.append("nothing found")
    below = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div style="{_ROW}">{figures}</div>{below}'


def _figure(hit: Hit) -> str:
    score = f"{hit.score:.3f}" + ("" if hit.probability is None else f" · {hit.probability:.0%}")
    words = hit.caption or Path(hit.uri).name
    words = words if len(words) <= _LONGEST else words[:_LONGEST] + "…"
    return (
        f'<figure style="{_FIGURE}" title="{escape(hit.uri)}"><div style="{_TILE}">{_tile(hit)}</div>'
        f"<figcaption><b>{hit.rank}</b> {score}<br>{escape(words)}</figcaption></figure>"
    )


def _tile(hit: Hit) -> str:
    if hit.kind == "text":
        return "<i>text</i>"
    try:
        picture = decode(read_original(hit.uri), hint=SIDE)
    except (DataError, OSError):
        return "<i>picture not found</i>"
    picture.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(hit.id)}" src="data:image/jpeg;base64,{content}">'
