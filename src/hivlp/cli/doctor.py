"""``hivlp doctor``: what is installed, what is missing, and how fast this machine is."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hivlp.cli import output

if TYPE_CHECKING:
    from rich.console import Console

_EXTRAS = {
    "serve": "the search page and the HTTP API",
    "mcp": "tools for language models",
    "photos": "camera RAW and JPEG XL",
    "parquet": "Parquet tables and exports",
    "train": "training, models of the hub, re-ranking",
    "mini": "training the shipped model anew",
    "openvino": "another runtime for the shipped model",
    "watch": "plots and TensorBoard of training",
}
_CALLS = 7


def doctor(json: output.JsonOption = False, debug: output.DebugOption = False) -> None:
    """Show versions, optional parts and how to install them, and the speed of the shipped model here."""
    found = _examined()
    output.answer(found, json=json, human=lambda console: _show(console, found))


def _examined() -> dict[str, Any]:
    import hivlp
    from hivlp.install import install_line, missing

    extras = {}
    for name, use in _EXTRAS.items():
        lacking = missing(name)
        line = install_line(name, lacking[0]) if lacking else None
        extras[name] = {"for": use, "missing": lacking, "install": line}
    return {
        "hivlp": hivlp.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "gpu": None if extras["train"]["missing"] else _gpu(),
        "extras": extras,
        "mini": _speed(),
    }


def _gpu() -> str | None:
    """The accelerator that torch uses; None without one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "mps" if torch.backends.mps.is_available() else None


def _speed() -> dict[str, float]:
    import numpy as np

    from hivlp.encode import load

    model = load("mini")
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return {
        "text_ms": _milliseconds(lambda: model.encode_texts("a dog running through snow")),
        "image_ms": _milliseconds(lambda: model.encode_images(picture)),
    }


def _milliseconds(call: Callable[[], object]) -> float:
    """The median of a few calls after a first one."""
    took = []
    for _ in range(1 + _CALLS):
        start = time.perf_counter()
        call()
        took.append(1e3 * (time.perf_counter() - start))
    return round(statistics.median(took[1:]), 2)


def _show(console: Console, found: dict[str, Any]) -> None:
    speed = found["mini"]
    output.print_lines(
        console,
        f"hivlp {found['hivlp']}, Python {found['python']}, {found['system']}, {found['cpus']} CPUs",
        f"GPU: {found['gpu'] or 'none that torch can use'}",
        f"mini: {speed['text_ms']:.1f} ms a text, {speed['image_ms']:.0f} ms an image",
        "",
    )
    for name, extra in found["extras"].items():
        state = f"missing: {', '.join(extra['missing'])}" if extra["missing"] else "installed"
        output.print_lines(console, f"{name:<9} {extra['for']:<40} {state}")
        if extra["install"]:
            output.print_lines(console, f"          {extra['install']}")
