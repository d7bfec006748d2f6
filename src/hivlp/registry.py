"""Names that a configuration may use, each with the place of its code.

Nothing is imported before it is asked for. A plug-in adds its own names through the entry-point groups
``hivlp.<table>``.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from hivlp.errors import ConfigError

TABLES: dict[str, dict[str, str]] = {
    "levels": {
        "nested": "hivlp.model.levels:NestedLevels",
        "separate": "hivlp.model.levels:SeparateLevels",
    },
    "encoders": {
        "onnx": "hivlp.encode.onnx:OnnxEncoder",
        "onnx-int8": "hivlp.encode.onnx:Int8Encoder",
        "openvino": "hivlp.encode.openvino:OpenVinoEncoder",
        "fastest": "hivlp.encode.fastest:fastest",
        "torch": "hivlp.encode.torch:TorchEncoder",
        "heads": "hivlp.encode.heads:HeadsEncoder",
        "transformers": "hivlp.encode.transformers:TransformersEncoder",
    },
}


def names(table: str) -> list[str]:
    """Every name of a table, built-in ones first."""
    return [*TABLES[table], *(point.name for point in entry_points(group=f"hivlp.{table}"))]


def resolve(table: str, name: str) -> Any:
    """The object behind a name.

    Raises:
        ConfigError: the table has no such name; the message lists those it has.
    """
    if name in TABLES[table]:
        module, _, attribute = TABLES[table][name].partition(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=f"hivlp.{table}"):
        if point.name == name:
            return point.load()
    raise ConfigError(f"{name!r} is not one of the {table}: {suggestion(name, names(table))}")


def suggestion(name: str, known: list[str]) -> str:
    """The nearest known name as a question, or all of them as a list."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
