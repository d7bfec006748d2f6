"""Drawn pictures with exact captions, from a seed: unlimited pairs for tests, demonstrations and training.

>>> spec = describe(7)
>>> spec.captions[0]  # doctest: +SKIP
'two small red boats to the left of a white lighthouse on the sea at sunset'
>>> render(spec, size=64).size
(64, 64)
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import Image

from hivlp.errors import DataError
from hivlp.scenes import captions as _captions
from hivlp.scenes import describe as _describe
from hivlp.scenes import draw as _draw
from hivlp.scenes.spec import Group, SceneSpec
from hivlp.types import Sample

__all__ = ["Group", "SceneSpec", "describe", "render", "samples"]

_SMALLEST, _LARGEST = 16, 4096


def describe(seed: int, *, split: str = "train") -> SceneSpec:
    """The scene of a seed, with captions and near-misses; nothing is drawn.

    The same seed and split give the same scene on every platform and Python version. Splits never share
    a course of chance, so no seed of one gives the scene of another.

    Args:
        seed: any whole number.
        split: ``train``, ``val`` or ``test``.

    Raises:
        DataError: for another split.
    """
    if split not in _describe.SPLITS:
        raise DataError(f"scenes have no split {split!r}: take one of {', '.join(_describe.SPLITS)}")
    return _captions.write(_describe.choose(int(seed), split))


def render(spec: SceneSpec, *, size: int = 224) -> Image.Image:
    """The scene drawn as an RGB picture of ``size`` × ``size`` pixels.

    Raises:
        DataError: where size is not within 16..4096.
    """
    if not _SMALLEST <= size <= _LARGEST:
        raise DataError(f"size={size} is invalid: must be {_SMALLEST} to {_LARGEST} pixels, such as 224")
    return _draw.draw(spec, size)


def samples(count: int, *, seed: int = 0, size: int = 224, split: str = "train") -> Iterator[Sample]:
    """Scenes as samples with JPEG bytes, drawn one at a time on demand.

    Args:
        count: how many, 0 or more.
        seed: scenes of different seeds are different pictures.
        size: side in pixels.
        split: ``train``, ``val`` or ``test``.

    Yields:
        Samples with id ``scene-SPLIT-SEED-NUMBER``; meta holds ``setting``, ``light``, ``things`` and
        ``near_misses``.

    Raises:
        DataError: for a negative count, an impossible size or another split.
    """
    if count < 0:
        raise DataError(f"can't draw {count} scenes: the count has to be 0 or more")
    for number in range(count):
        # Far apart, so that two seeds share no picture while each has fewer than a billion of them.
        spec = describe(seed * 1_000_000_000 + number, split=split)
        buffer = io.BytesIO()
        render(spec, size=size).save(buffer, "JPEG", quality=92)
        name = f"scene-{split}-{seed}-{number:06d}"
        yield Sample(
            id=name,
            uri=f"scenes:{name}.jpg",
            image=buffer.getvalue(),
            captions=spec.captions,
            split=split,
            meta=spec.meta,
        )
