"""Names that a configuration may use, each with the place of its code.

A module is imported when one of its names is resolved. A plug-in adds names through the entry-point groups
``hivlp.<table>``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from hivlp.errors import ConfigError
from hivlp.messages import suggestion

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
        ConfigError: the table has no such name; the message lists its names.
    """
    if name in TABLES[table]:
        module, _, attribute = TABLES[table][name].partition(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=f"hivlp.{table}"):
        if point.name == name:
            return point.load()
    raise ConfigError(f"{name!r} is not one of the {table}: {suggestion(name, names(table))}")
