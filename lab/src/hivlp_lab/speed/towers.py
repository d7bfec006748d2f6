"""The query side of the dual encoders: a text, or a picture whose region features lie ready, to a vector.

Random weights in the shapes of the papers, except for the small text tower, which is that of the shipped
model and is timed with its tokenizer. On a CPU each tower is run by torch and by ONNX Runtime, and the faster
one counts: for the systems that HiVLP is compared with as for HiVLP.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hivlp import scenes
from hivlp.config import TOKENIZER_FILE, read_model_config
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode import load
from hivlp.encode.base import model_folder
from hivlp.encode.onnx import open_graph
from hivlp.model.folder import open_model
from hivlp_lab.baselines.dual import LightningDot, RegionHiVLP
from hivlp_lab.baselines.parts import multiply_adds
from hivlp_lab.baselines.sizes import BOX_NUMBERS, PAIRS
from hivlp_lab.speed.clock import TimeLimit, medians
from hivlp_lab.speed.fusion import REGIONS, WORDS
from hivlp_lab.speed.pools import NARROW, WIDE, Direction

Encode: TypeAlias = "Callable[[int], Any]"
_CHOOSING = TimeLimit(most=20, seconds=3)


@dataclass(frozen=True, kw_only=True)
class QueryTower:
    """The encoding of one query, ready to be timed.

    Attributes:
        encode: encodes the query of some number.
        runtime: ``torch`` or ``onnxruntime``.
        macs: multiply-adds of a query.
    """

    encode: Encode
    runtime: str
    precision: str
    macs: int


class _Graph(nn.Module):
    """One direction of a dual encoder as a module: inputs in, its vectors out as a tuple."""

    def __init__(self, model: LightningDot | RegionHiVLP, direction: Direction) -> None:
        super().__init__()
        self.model = model
        self.direction: Direction = direction

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        of_text = self.direction == "text_to_image"
        found = (self.model.encode_text if of_text else self.model.encode_image)(*inputs)
        return tuple(found.values()) if isinstance(found, dict) else (found,)


class QueryTowers:
    """All query sides on one device; models are built on first use."""

    def __init__(self, device: str, *, base: str = "base") -> None:
        self.device = device
        self._base = base

    def lightningdot(self, direction: Direction) -> QueryTower:
        """LightningDOT's."""
        return self._fastest(_Graph(self._large.towers, direction))

    def hivlp(self, direction: Direction) -> QueryTower:
        """The same tower with levels."""
        return self._fastest(_Graph(self._large, direction))

    def hivlp_compact(self, direction: Direction) -> QueryTower:
        """The text tower of the shipped model, which has none of regions."""
        if direction != "text_to_image":
            raise ValueError("direction=image_to_text is invalid: mini reads pixels and not stored regions")
        return _shipped()

    @cached_property
    def _large(self) -> RegionHiVLP:
        return _model(self._base)

    def _fastest(self, graph: _Graph) -> QueryTower:
        size = (graph.model.towers if isinstance(graph.model, RegionHiVLP) else graph.model).size
        inputs = _inputs(graph.direction, size.region_features)
        graph = graph.eval()
        macs = multiply_adds(lambda: graph.to("cpu", torch.float32)(*inputs))
        if self.device != "cpu":
            half = graph.to(self.device, torch.float16)
            on_device = tuple(
                part.to(self.device, torch.float16 if part.is_floating_point() else part.dtype)
                for part in inputs
            )
            return QueryTower(encode=_torch(half, on_device), runtime="torch", precision="float16", macs=macs)
        found = {"torch": _torch(graph, inputs), "onnxruntime": _onnx(graph, inputs)}
        runtime = min(found, key=lambda name: medians([found[name]], _CHOOSING)[1])
        return QueryTower(encode=found[runtime], runtime=runtime, precision="float32", macs=macs)


def _model(size: str) -> RegionHiVLP:
    return RegionHiVLP(PAIRS[size], (NARROW, WIDE)).eval()


def _inputs(direction: Direction, features: int) -> tuple[Tensor, ...]:
    """One query: a text of 14 word pieces, or a picture of 36 regions."""
    if direction == "text_to_image":
        return torch.ones((1, WORDS), dtype=torch.long), torch.ones((1, WORDS), dtype=torch.long)
    regions_BRF, boxes_BR7 = torch.randn(1, REGIONS, features), torch.rand(1, REGIONS, BOX_NUMBERS)
    return regions_BRF, boxes_BR7, torch.ones((1, REGIONS), dtype=torch.long)


def _torch(graph: nn.Module, inputs: tuple[Tensor, ...]) -> Encode:
    @torch.inference_mode()
    def encode(turn: int) -> Any:
        return [part.float().cpu() for part in graph(*inputs)]

    return encode


def _onnx(graph: nn.Module, inputs: tuple[Tensor, ...]) -> Encode:
    names = [f"input_{number}" for number in range(len(inputs))]
    with tempfile.TemporaryDirectory() as folder, _quiet(), torch.no_grad():
        path = Path(folder) / "tower.onnx"
        torch.onnx.export(graph, inputs, str(path), input_names=names, opset_version=17, dynamo=False)
        session = open_graph(path, threads=0)
    fed = {name: part.numpy() for name, part in zip(names, inputs, strict=True)}
    return lambda turn: session.run(None, fed)


def _shipped() -> QueryTower:
    """The text tower of `mini`, from words to vectors, on captions of as many word pieces as elsewhere."""
    encoder, folder = load("mini"), model_folder("mini")
    config = read_model_config(folder)
    tokenizer = Tokenizer.open(folder / TOKENIZER_FILE, max_tokens=config.max_tokens)
    drawn = (caption for seed in range(500) for caption in scenes.describe(seed).captions)
    captions = [caption for caption in drawn if tokenizer.encode([caption])[1].sum() == WORDS][:100]
    model = open_model(folder).eval()
    tokens_BT, mask_BT = (torch.from_numpy(part) for part in tokenizer.encode(captions[:1]))
    return QueryTower(
        encode=lambda turn: encoder.encode_texts([captions[turn % len(captions)]]),
        runtime="onnxruntime",
        precision="float32",
        macs=multiply_adds(lambda: model.encode_tokens(tokens_BT, mask_BT)),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own ageing and of shapes that are fixed here on purpose."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
