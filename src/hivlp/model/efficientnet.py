"""EfficientNet-Lite as an image tower: inverted residual blocks without squeeze-and-excite, with ReLU6.

The architecture of Tan and Le (arXiv 1905.11946) in the form that Google published for small devices in 2020.
It has the interface of a model of transformers, which `model.towers` calls. Only
`hivlp.train.starts.pretrained` knows the format of pretrained weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

KIND = "efficientnet_lite"
FEATURES = 1280
INNER = 4  # the stage whose map still represents textures and colours, at 1/16 of the image's side
# kernel, stride, expansion, channels, repeats of each stage at width 1 and depth 1
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM = 32
_EPSILON, _MOMENTUM = 1e-3, 0.01


@dataclass(frozen=True, slots=True)
class Maps:
    """The last map (B, 1280, G, G) of the tower, and that of each stage, under the names of transformers."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...]


class EfficientNetLite(nn.Module):
    """Pixels (B, 3, S, S), normalised, to a map of features (B, 1280, S / 32, S / 32).

    Args:
        width, depth: what channels and repeats are multiplied by: 1 and 1 for Lite0, 1 and 1.1 for Lite1,
            1.1 and 1.2 for Lite2. The stem, the first and the last stage and the head keep theirs.
        size: side of the input, pixels; zeros around the maps depend on it, as TensorFlow adds them.
    """

    def __init__(self, *, width: float, depth: float, size: int) -> None:
        super().__init__()
        self.stem = _Layer(3, _STEM, 3, stride=2, size=size)
        size = _halved(size)
        before, blocks, ends = _STEM, list[nn.Module](), list[int]()
        for number, (kernel, stride, expansion, channels, repeats) in enumerate(STAGES):
            after = _channels(channels * width)
            outer = number in (0, len(STAGES) - 1)
            for step in range(repeats if outer else math.ceil(repeats * depth)):
                down = stride if step == 0 else 1
                blocks.append(_Block(before, after, kernel, stride=down, expansion=expansion, size=size))
                size = _halved(size) if down == 2 else size
                before = after
            ends.append(len(blocks))
        self._ends = frozenset(ends)
        self.blocks = nn.ModuleList(blocks)
        self.head = _Layer(before, FEATURES, 1, size=size)

    def forward(self, pixel_values: Tensor) -> Maps:
        map_BCHW, stages = self.stem(pixel_values), list[Tensor]()
        for number, block in enumerate(self.blocks, start=1):
            map_BCHW = block(map_BCHW)
            if number in self._ends:
                stages.append(map_BCHW)
        return Maps(self.head(map_BCHW), tuple(stages))


class _Layer(nn.Sequential):
    """A convolution, its batch norm, and ReLU6 where it is not left out."""

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int,
        *,
        size: int,
        stride: int = 1,
        groups: int = 1,
        active: bool = True,
    ) -> None:
        super().__init__()
        whole = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        first, last = whole // 2, whole - whole // 2
        if (
            first != last
        ):  # TensorFlow adds the odd zero behind, a convolution of torch the same on both sides
            self.pad = nn.ZeroPad2d((first, last, first, last))
        self.conv = nn.Conv2d(
            before,
            after,
            kernel,
            stride=stride,
            padding=first if first == last else 0,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(after, eps=_EPSILON, momentum=_MOMENTUM)
        if active:
            self.act = nn.ReLU6()


class _Block(nn.Module):
    """Wider by a 1×1 convolution, a convolution of each channel, narrower again; added to what came in."""

    def __init__(
        self, before: int, after: int, kernel: int, *, stride: int, expansion: int, size: int
    ) -> None:
        super().__init__()
        inside = before * expansion
        self.adds = stride == 1 and before == after
        self.expand = _Layer(before, inside, 1, size=size) if expansion > 1 else nn.Identity()
        self.depthwise = _Layer(inside, inside, kernel, stride=stride, groups=inside, size=size)
        self.project = _Layer(inside, after, 1, size=size, active=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        narrow_BCHW = self.project(self.depthwise(self.expand(map_BCHW)))
        return map_BCHW + narrow_BCHW if self.adds else narrow_BCHW


def _channels(wanted: float) -> int:
    """The nearest multiple of 8, at least nine tenths of `wanted`."""
    near = max(8, int(wanted + 4) // 8 * 8)
    return near + 8 if near < 0.9 * wanted else near


def _halved(size: int) -> int:
    return math.ceil(size / 2)
