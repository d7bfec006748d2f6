"""What a run needs of its sources, checked before its first step and before torch is loaded.

It reads the beginning of each source and decodes no picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hivlp.config import SourceConfig, TrainConfig, ValidationSource
from hivlp.data.sources import Source, open_source
from hivlp.errors import DataError, NothingUsableError, first_reasons
from hivlp.messages import counted

FEW = 100  # pictures; a fine-tune with fewer learns them by heart
_LOOKED_AT = 10_000  # samples in which a source without captions is recognised
_DRAWN = "scenes:"


@dataclass(frozen=True, slots=True)
class _Counted:
    """Pictures with captions of one source: at least this many; all of them where `is_all`."""

    spec: str
    source: Source
    number: int
    is_all: bool


def opened(source: ValidationSource) -> Source:
    """A source of the configuration, ready to be read. Raises DataError as `open_source`."""
    return open_source(source.spec, split=source.split)


def check_sources(config: TrainConfig) -> list[str]:
    """Refuses sources that a run can't learn from.

    Returns:
        Notes on what will work badly, one sentence each.

    Raises:
        DataError: a source does not exist or can't be read; or all together have no caption, or one picture.
        NothingUsableError: no picture that a source names can be used.
    """
    shares = _shares(config.sources, config.batch_size)
    found = [
        _found(source, enough=max(share, FEW)) for source, share in zip(config.sources, shares, strict=True)
    ]
    total = sum(one.number for one in found)
    specs = ", ".join(source.spec for source in config.sources)
    if not total and all(one.is_all for one in found):
        _check_failures(found, specs)
        raise DataError(_nothing(config, specs))
    if total == 1 and all(one.is_all for one in found):
        raise DataError(
            f"there is one picture with a caption to train on ({specs}): a model learns by comparing "
            "pictures, so give at least 2, better some hundred"
        )
    for source in config.validation:  # a wrong path is said now
        if not source.spec.startswith(_DRAWN):
            open_source(source.spec)
    few = config.start is not None and total < FEW
    note = f"only {counted(total, 'picture')} with captions to train on; a fine-tune needs some hundred"
    return [*([note] if few else []), *_repeated(found, shares)]


def has_pairs(source: ValidationSource) -> bool:
    """Whether a validation source has pictures with captions that are held back from training.

    A source without splits has none: it would be the training data again.
    """
    if source.spec.startswith(_DRAWN):
        return True
    if source.split is not None:
        whole = open_source(source.spec)
        if source.split not in whole.splits():
            return False
    return any(sample.captions for sample in itertools.islice(opened(source), _LOOKED_AT))


def _check_failures(found: Sequence[_Counted], specs: str) -> None:
    """Raises NothingUsableError where sources name pictures and none of these is there."""
    failures = [failure for one in found for failure in one.source.failures]
    if failures:
        notes = [note for one in found for note in one.source.notes]
        reasons = "; ".join([*notes, first_reasons(failures)])
        raise NothingUsableError(f"no picture of {specs} can be used to train on: {reasons}")


def _nothing(config: TrainConfig, specs: str) -> str:
    """Why there is nothing to train on: all captions are in other splits, or there are none."""
    for source in config.sources:
        whole = source.model_copy(update={"split": None})
        if source.split is not None and _found(whole, enough=1).number:
            return (
                f"{source.spec} has no picture with a caption in its split {source.split!r}, so there is "
                "nothing to train on; move some rows to this split, or hold back a smaller share"
            )
    return (
        f"none of the sources has captions ({specs}); training needs images with captions, such as a table "
        "of both: see docs/data.md"
    )


def _shares(sources: Sequence[SourceConfig], batch_size: int) -> list[int]:
    """The pictures of each source in a batch, rounded up."""
    whole = sum(source.share for source in sources)
    return [math.ceil(batch_size * source.share / whole) for source in sources]


def _found(source: SourceConfig, *, enough: int) -> _Counted:
    """Counts the pictures with captions of a source, `enough` of them at most."""
    samples = opened(source)
    if source.spec.startswith(_DRAWN):  # every one has captions, and counting would draw them
        number = samples.count() or 0
        return _Counted(source.spec, samples, min(number, enough), number <= enough)
    rest = iter(samples)
    looked = itertools.islice(rest, _LOOKED_AT)
    captioned = (sample for sample in looked if sample.captions and sample.image is not None)
    number = sum(1 for _ in itertools.islice(captioned, enough))
    return _Counted(source.spec, samples, number, number < enough and next(rest, None) is None)


def _repeated(found: Sequence[_Counted], shares: Sequence[int]) -> list[str]:
    """A note on each source that is smaller than its part of a batch."""
    return [
        f"{one.spec} has {counted(one.number, 'picture')} with captions to train on, and a batch takes "
        f"{share} of it, so every batch repeats them; give more, or set a smaller batch_size"
        for one, share in zip(found, shares, strict=True)
        if one.is_all and 0 < one.number < share
    ]
