"""Matplotlib, which is an extra, and the colours of all charts."""

# pyright: reportMissingImports=false

from __future__ import annotations

from typing import TYPE_CHECKING

from hivlp.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind people can tell apart, and some more; grey is the last.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D1F", "#6A51A3", "#7F7F7F")


def figure_class(extra: str, what: str) -> type[Figure]:
    """Matplotlib's figure, drawn without a screen. Raises MissingExtraError: `what` needs `extra`."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib", extra, what) from None
    return Figure
