"""A result on the disk: its document, and its picture where one can be drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hivlp.errors import MissingExtraError


def save(
    document: Mapping[str, Any], path: Path, draw: Callable[[Mapping[str, Any], Path], None]
) -> list[str]:
    """Writes a result file and, where matplotlib is installed, the picture beside it; notes for people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    try:
        draw(document, path.with_suffix(".png"))
    except MissingExtraError as error:
        return [f"written: {path}", str(error)]
    return [f"written: {path} and {path.with_suffix('.png').name}"]
