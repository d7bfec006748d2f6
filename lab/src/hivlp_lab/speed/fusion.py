"""What a pair costs a fusion model: measured at growing batches, in every precision that the device may like.

Weights and features are random: time does not depend on them. Features of the detector lie ready, as in the
papers; METER's towers are run for every pair, as its released evaluation does, or lie ready too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hivlp_lab.baselines.meter import Meter
from hivlp_lab.baselines.parts import multiply_adds
from hivlp_lab.baselines.sizes import BOX_NUMBERS, METERS, PAIRS
from hivlp_lab.baselines.uniter import MINI_BATCH, Uniter

WORDS, METER_WORDS, REGIONS = 14, 40, 36
"""Word pieces of a caption on average, those that METER pads to, and regions of a picture."""
BATCHES = (1, 4, 16, 64, MINI_BATCH)
_LONG_ENOUGH_S = 3.0
_GIVE_UP = 2.0  # a precision that is this many times slower than the best is given up

ScorePairs: TypeAlias = "Callable[[], Tensor]"


@dataclass(frozen=True, kw_only=True)
class TimedFusion:
    """A fusion model, and how some pairs are scored by it.

    Attributes:
        about: its shape in words.
        make: builds it, with random weights.
        pairs: gives the computation of the scores of a number of pairs.
    """

    about: str
    make: Callable[[], nn.Module]
    pairs: Callable[[Any, int], ScorePairs]


def _uniter(size: str, regions: int = REGIONS) -> TimedFusion:
    def pairs(model: Uniter, batch: int) -> ScorePairs:
        inputs = pair_inputs(model, batch, regions)
        return lambda: model(*inputs)

    layers, width = PAIRS[size].stack.layers, PAIRS[size].stack.width
    return TimedFusion(
        about=f"{layers} layers of {width}, {WORDS} words, {regions} regions",
        make=lambda: Uniter(PAIRS[size]),
        pairs=pairs,
    )


def _meter(size: str, *, stored_states: bool) -> TimedFusion:
    def pairs(model: Meter, batch: int) -> ScorePairs:
        like = next(model.parameters())
        tokens_BT = torch.ones((batch, METER_WORDS), dtype=torch.long, device=like.device)
        mask_BT = torch.ones_like(tokens_BT)
        side = model.size.pixels
        pixels_BCHW = torch.zeros((batch, 3, side, side), device=like.device, dtype=like.dtype)
        if not stored_states:
            return lambda: model.score(
                model.text_states(tokens_BT, mask_BT), mask_BT, model.pixel_states(pixels_BCHW)
            )
        width, patches = model.size.fusion.width, (side // model.size.patch) ** 2
        text_BTD = torch.randn((batch, METER_WORDS, width), device=like.device, dtype=like.dtype)
        image_BSD = torch.randn((batch, 1 + patches, width), device=like.device, dtype=like.dtype)
        return lambda: model.score(text_BTD, mask_BT, image_BSD)

    side = METERS[size].pixels
    towers = "both towers' states kept" if stored_states else "both towers run for every pair"
    return TimedFusion(
        about=f"{side}×{side}, {METER_WORDS} words, {towers}", make=lambda: Meter(METERS[size]), pairs=pairs
    )


MODELS: dict[str, TimedFusion] = {
    "uniter-base": _uniter("base"),
    "uniter-base-100": _uniter("base", regions=100),
    "uniter-large": _uniter("large"),
    "meter-288": _meter("288", stored_states=False),
    "meter-384": _meter("384", stored_states=False),
    "meter-384-kept": _meter("384", stored_states=True),
}
SMALL_MODELS: dict[str, TimedFusion] = {
    "uniter-base": _uniter("tiny", regions=3),
    "meter-384": _meter("tiny", stored_states=False),
}
"""The same, small enough to try a run out in seconds; a result says that it was made with them."""


def pair_inputs(model: Uniter, batch: int, regions: int = REGIONS) -> tuple[Tensor, ...]:
    """The inputs of ``Uniter`` for pairs of one text."""
    like = next(model.parameters())
    tokens_BT = torch.ones((batch, WORDS), dtype=torch.long, device=like.device)
    features = model.size.region_features
    regions_BRF = torch.randn((batch, regions, features), device=like.device, dtype=like.dtype)
    boxes_BR7 = torch.rand((batch, regions, BOX_NUMBERS), device=like.device, dtype=like.dtype)
    mask_BR = torch.ones((batch, regions), dtype=torch.long, device=like.device)
    return tokens_BT, torch.ones_like(tokens_BT), regions_BRF, boxes_BR7, mask_BR


def precisions(device: str) -> tuple[torch.dtype, ...]:
    """The number formats that are tried on a device; which is fastest depends on what its units can do."""
    return (torch.float32, torch.bfloat16) if device == "cpu" else (torch.float16, torch.bfloat16)


def named(precision: torch.dtype) -> str:
    """A number format in a word, such as ``bfloat16``."""
    return str(precision).removeprefix("torch.")


def cost(
    fusion: TimedFusion, device: str, *, batches: Sequence[int] = BATCHES, seconds: float = 30.0
) -> dict[str, Any]:
    """Milliseconds of a pair at the best batch and precision, and its multiply-adds.

    A batch is left out where it would take longer than ``seconds``; ``tried`` tells which were timed.
    """
    model = fusion.make().eval()
    macs = multiply_adds(fusion.pairs(model, 1))
    tried: dict[str, dict[str, float]] = {}
    best: tuple[float, int, str] = (float("inf"), 0, "")
    for precision in precisions(device):
        model = model.to(device, precision)
        row = tried[named(precision)] = {}
        for batch in batches:
            if row and batch * min(row.values()) / 1e3 > seconds:
                break
            row[str(batch)] = _milliseconds(fusion.pairs(model, batch), batch)
            best = min(best, (row[str(batch)], batch, named(precision)))
            if row[str(batch)] > _GIVE_UP * best[0]:
                break
    milliseconds, batch, precision_name = best
    return {
        "about": fusion.about,
        "ms": milliseconds,
        "batch": batch,
        "precision": precision_name,
        "macs": macs,
        "tried": tried,
    }


@torch.inference_mode()
def _milliseconds(pairs: ScorePairs, batch: int) -> float:
    """Of one pair: the best of a few runs, one where a run is long. Reading the scores waits for a GPU."""
    took: list[float] = []
    while len(took) < 5 and sum(took) < _LONG_ENOUGH_S:
        begin = time.perf_counter()
        pairs().float().cpu()
        took.append(time.perf_counter() - begin)
    return 1e3 * min(took) / batch


@torch.inference_mode()
def whole_ms(fusion: TimedFusion, device: str, count: int, *, batch: int, precision: str) -> float:
    """Milliseconds of one query that scores all pairs, really run."""
    model = fusion.make().eval().to(device, getattr(torch, precision))
    runs = [fusion.pairs(model, min(batch, count - start)) for start in (0, count - 1 - (count - 1) % batch)]
    runs[0]()
    begin = time.perf_counter()
    for start in range(0, count, batch):
        runs[0 if start + batch <= count else 1]().float().cpu()
    return 1e3 * (time.perf_counter() - begin)


class TimedReranker:
    """UNITER over the best rows of a query: the computation that ``search.run`` calls, with random features.

    The features of a pool's pictures would lie in memory; here a few hundred do, and rows share them.
    ``macs`` are the multiply-adds of a pair.
    """

    def __init__(self, fusion: TimedFusion, device: str, precision: str, *, pictures: int = 256) -> None:
        self._model: Any = fusion.make().eval().to(device, getattr(torch, precision))
        self._pictures = pictures
        self.precision = precision
        self._inputs = pair_inputs(self._model, pictures)
        self.macs = multiply_adds(lambda: self._model(*(part[:1] for part in self._inputs)))

    @torch.inference_mode()
    def __call__(self, query: int, rows: Any) -> Any:
        places = torch.from_numpy(rows % self._pictures).to(self._inputs[0].device)
        return self._model(*(part[places] for part in self._inputs)).float().cpu().numpy()
