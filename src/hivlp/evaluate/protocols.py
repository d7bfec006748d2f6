"""The Karpathy protocol: captions find pictures and pictures captions, at each level and through the cascade.

It knows encoders, samples and `search.run`; it knows no file formats and prints nothing. The cascade is
measured on a real index folder and by the very function that runs a user's search.

I pictures, T texts, D width of a level.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hivlp.data.sources import Source
from hivlp.encode import Encoder, encode_stream
from hivlp.encode.heads import unit
from hivlp.errors import NothingUsableError, QueryError, first_reasons
from hivlp.evaluate import metrics
from hivlp.evaluate.classes import Classes, class_accuracy
from hivlp.evaluate.metrics import Recalls, Relevant
from hivlp.search import cascade as search
from hivlp.search.plan import Plan
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Failure, FloatArray, IntArray, Item, Progress, Sample

_TEXT_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPairs:
    """Encoded pictures and captions of one split, and the picture of each caption.

    Attributes:
        images: embeddings of I pictures.
        texts: embeddings of T captions.
        picture_of: for each of the T captions, the row of its picture.
        captions: the T captions; without them all of them count as worded differently.
        failed: samples that were left out, and why.
        split: the split of the pictures; None where the source has no splits.
        notes: remarks of the source, such as an option without effect.
    """

    images: Embeddings
    texts: Embeddings
    picture_of: IntArray
    failed: list[Failure]
    split: str | None = None
    notes: list[str] = field(default_factory=list[str])
    captions: Sequence[str] = ()

    def wordings(self) -> IntArray:
        """For each caption a number, from 0 on: equal for captions that differ in letter case at most."""
        if not self.captions:
            return np.arange(len(self.picture_of), dtype=np.int64)
        folded = [caption.casefold() for caption in self.captions]
        return np.unique(folded, return_inverse=True)[1].astype(np.int64)

    def of_texts(self) -> Relevant:
        """For every caption its picture, and the pictures of equal captions."""
        wording_T = self.wordings()
        pictures = _grouped(wording_T, self.picture_of)
        return [pictures[int(wording)] for wording in wording_T]

    def of_images(self) -> Relevant:
        """For every picture all of its captions, and equal captions of other pictures."""
        wording_T = self.wordings()
        texts = _grouped(wording_T, np.arange(len(wording_T)))
        own = _grouped(self.picture_of, wording_T, groups=len(self.images))
        together: dict[bytes, IntArray] = {}  # pictures of one label share one long list
        for wordings in own:
            key = wordings.tobytes()
            if key not in together:
                rows = [texts[int(wording)] for wording in wordings]
                together[key] = np.concatenate(rows) if rows else np.empty(0, np.int64)
        return [together[wordings.tobytes()] for wordings in own]

    def shared_captions(self) -> int:
        """How many captions are worded like one of another picture."""
        return sum(len(pictures) > 1 for pictures in self.of_texts())


@dataclass(frozen=True, slots=True, kw_only=True)
class BothWays:
    """Recalls of both directions. AR is the mean of the six, in percent."""

    text_to_image: Recalls
    image_to_text: Recalls

    @property
    def average(self) -> float:
        return metrics.average_recall(self.text_to_image, self.image_to_text)

    def as_dict(self) -> dict[str, Any]:
        return {
            "text_to_image": self.text_to_image.as_dict(),
            "image_to_text": self.image_to_text.as_dict(),
            "AR": round(self.average, 2),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of `evaluate_karpathy`.

    Attributes:
        protocol: counts and split in one line.
        images: pictures that were searched.
        texts: captions that were searched.
        levels: width -> both directions by a full scan at that level, in float32.
        cascade: both directions through the cascade, over a stored index.
        plan: the plan of the cascade.
        failed: samples that were left out, and why.
        seconds: wall-clock time of ``encode`` and ``search``.
        notes: remarks of the source, such as an option without effect, and on equal and long captions.
        classes: how many pictures of each label are recognised, if that was measured.
    """

    protocol: str
    images: int
    texts: int
    levels: dict[int, BothWays]
    cascade: BothWays
    plan: Plan
    failed: list[Failure] = field(default_factory=list[Failure])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    notes: list[str] = field(default_factory=list[str])
    classes: Classes | None = None

    @property
    def fine(self) -> BothWays:
        """The finest level: what the model can do."""
        return self.levels[max(self.levels)]

    @property
    def kept(self) -> float | None:
        """AR of the cascade over AR of the finest level; None where the latter is 0."""
        return self.cascade.average / self.fine.average if self.fine.average else None

    def as_dict(self) -> dict[str, Any]:
        """The document of ``hivlp eval``: recalls in percent; those at the top are the finest level's."""
        kept = None if self.kept is None else round(self.kept, 4)
        return {
            "protocol": self.protocol,
            "images": self.images,
            "texts": self.texts,
            **self.fine.as_dict(),
            "levels": {str(width): level.as_dict() for width, level in sorted(self.levels.items())},
            "cascade": {
                **self.cascade.as_dict(),
                "kept": kept,
                "candidates": self.plan.candidates,
                "plan": self.plan.as_dict(),
            },
            "failed": [failure.as_dict() for failure in self.failed],
            "seconds": {stage: round(seconds, 2) for stage, seconds in self.seconds.items()},
            "notes": self.notes,
            **(self.classes.as_dict() if self.classes is not None else {}),
        }


def evaluate_karpathy(
    encoder: Encoder,
    samples: Iterable[Sample],
    *,
    split: str | None = None,
    plan: Plan | None = None,
    classes: bool = False,
    batch_size: int = 32,
    workers: int = 2,
    progress: Progress | None = None,
) -> Evaluation:
    """Measures an encoder on pictures with captions.

    Every caption is a query over all pictures, every picture one over all captions; a hit is any caption of
    the picture among the first k. Equal captions of several pictures are right answers for all of them. Each
    picture and caption is encoded once.

    Args:
        encoder: the model.
        samples: a source, or any samples. Those without a caption or a good picture are left out and listed.
        split: what the protocol line calls the split; None takes the name that all samples agree on.
        plan: the plan of the cascade; None takes 200 candidates of an exact coarse scan.
        classes: also measure the accuracy of each class, where the captions are labels.
        batch_size: pictures a batch.
        workers: threads that decode beside the model.
        progress: see `types.Progress`; it counts pictures.

    Raises:
        DataError: no picture has a caption.
        QueryError: the plan asks for a level that the encoder lacks, or for re-ranking; or `classes` is true
            and the captions are no labels.
    """
    plan = plan or Plan()
    _check_plan(plan, encoder)
    start = time.perf_counter()
    pairs = encode_pairs(encoder, samples, batch_size=batch_size, workers=workers, progress=progress)
    encoded = time.perf_counter()
    measured = _classes(pairs) if classes else None
    result = replace(evaluate_pairs(pairs, split=split, plan=plan), classes=measured)
    result.seconds.update(encode=encoded - start, search=time.perf_counter() - encoded)
    return result


def evaluate_pairs(pairs: EncodedPairs, *, split: str | None = None, plan: Plan | None = None) -> Evaluation:
    """As `evaluate_karpathy`, for stored embeddings; ``seconds`` is empty."""
    plan = plan or Plan()
    return Evaluation(
        protocol=_protocol(pairs, split or pairs.split),
        images=len(pairs.images),
        texts=len(pairs.texts),
        levels={width: at_level(pairs, width) for width in pairs.images.widths},
        cascade=through_cascade(pairs, plan),
        plan=plan,
        failed=pairs.failed,
        notes=[*pairs.notes, *_on_equal_captions(pairs)],
    )


def _classes(pairs: EncodedPairs) -> Classes:
    return class_accuracy(
        pairs.images.fine,
        pairs.texts.fine,
        picture_of_T=pairs.picture_of,
        wording_T=pairs.wordings(),
        names=pairs.captions,
    )


def _on_equal_captions(pairs: EncodedPairs) -> list[str]:
    shared = pairs.shared_captions()
    if not shared:
        return []
    return [
        f"{shared:,} of {len(pairs.texts):,} captions are worded like one of another picture; each of these "
        "pictures counts as a right answer"
    ]


def _grouped(group_N: IntArray, value_N: IntArray, *, groups: int | None = None) -> list[IntArray]:
    """For each group, numbered from 0, its different values in ascending order."""
    count = (int(group_N.max(initial=-1)) + 1) if groups is None else groups
    pairs_P2 = np.unique(np.stack([group_N, value_N], axis=1), axis=0)
    bounds = np.searchsorted(pairs_P2[:, 0], np.arange(1, count))
    return np.split(pairs_P2[:, 1], bounds) if count else []


def _check_plan(plan: Plan, encoder: Encoder) -> None:
    """Refuses before anything is encoded what the search would refuse after it."""
    if plan.coarse_width is not None and plan.coarse_width not in encoder.widths:
        raise QueryError(
            f"the plan's coarse_width={plan.coarse_width} is not a level of the model {encoder.name!r}; "
            f"take one of {', '.join(map(str, encoder.widths))}"
        )
    if plan.rerank:
        raise QueryError(
            f"the plan re-ranks {plan.rerank} rows, and an evaluation has nothing to re-rank with; "
            "leave rerank out"
        )


def encode_pairs(
    encoder: Encoder,
    samples: Iterable[Sample],
    *,
    batch_size: int = 32,
    workers: int = 2,
    progress: Progress | None = None,
) -> EncodedPairs:
    """Encodes the pictures and all of their captions, each once. See `evaluate_karpathy`."""
    failed: list[Failure] = []
    total: int | None = samples.count() if isinstance(samples, Source) else None
    parts: list[Embeddings] = []
    captions: list[str] = []
    picture_of: list[int] = []
    splits: set[str | None] = set()
    done = 0
    usable = _usable(samples, failed)
    for batch in encode_stream(encoder, usable, batch_size=batch_size, workers=workers):
        failed += batch.failures
        parts += [batch.embeddings] if batch.samples else []
        for sample in batch.samples:
            splits.add(sample.split)
            captions += sample.captions
            picture_of += [done] * len(sample.captions)
            done += 1
        if progress is not None:
            progress(f"{len(captions):,} captions", done, total)
    failed += getattr(samples, "failures", [])
    if not parts:
        raise NothingUsableError(_nothing(failed))
    starts = range(0, len(captions), _TEXT_BATCH)
    texts = [encoder.encode_texts(captions[start : start + _TEXT_BATCH]) for start in starts]
    return EncodedPairs(
        images=Embeddings.concatenate(parts),
        texts=Embeddings.concatenate(texts),
        picture_of=np.array(picture_of, np.int64),
        failed=failed,
        split=splits.pop() if len(splits) == 1 else None,
        notes=[*getattr(samples, "notes", []), *_on_long_captions(encoder, captions)],
        captions=captions,
    )


def _on_long_captions(encoder: Encoder, captions: Sequence[str]) -> list[str]:
    cut = sum(map(encoder.cuts, captions))
    if not cut:
        return []
    return [
        f"{cut:,} of {len(captions):,} captions are longer than the model reads; the rest of each is ignored"
    ]


def at_level(pairs: EncodedPairs, width: int) -> BothWays:
    """Both directions by a full scan at one level."""
    image_ID, text_TD = pairs.images[width], pairs.texts[width]
    return BothWays(
        text_to_image=metrics.recalls(metrics.ranks_of_embeddings(text_TD, image_ID, pairs.of_texts())),
        image_to_text=metrics.recalls(metrics.ranks_of_embeddings(image_ID, text_TD, pairs.of_images())),
    )


def signs(pairs: EncodedPairs, width: int) -> EncodedPairs:
    """The pairs with the codes that the coarse index ``bits`` keeps of a level, as unit vectors.

    Their cosine falls with the number of signs that differ.
    """

    def codes(level_ND: FloatArray) -> Embeddings:
        positive_ND: FloatArray = (level_ND > 0).astype(np.float32)
        return Embeddings({width: unit(2 * positive_ND - 1)})

    return replace(pairs, images=codes(pairs.images[width]), texts=codes(pairs.texts[width]))


def through_cascade(pairs: EncodedPairs, plan: Plan) -> BothWays:
    """Both directions by `search.run` over stored indexes, one of the pictures and one of the texts."""
    return BothWays(
        text_to_image=metrics.recalls(_ranks_of_search(pairs.texts, pairs.images, pairs.of_texts(), plan)),
        image_to_text=metrics.recalls(_ranks_of_search(pairs.images, pairs.texts, pairs.of_images(), plan)),
    )


def _ranks_of_search(queries: Embeddings, items: Embeddings, relevant: Relevant, plan: Plan) -> IntArray:
    count = len(items)
    k = count if plan.candidates == "all" else min(plan.candidates, count)
    with tempfile.TemporaryDirectory(prefix="hivlp-eval-") as folder:
        store = LocalStore.create(
            Path(folder) / "items.hivlp",
            model_name="evaluated",
            model_fingerprint="evaluated",
            widths=items.widths,
            preprocessing={},
        )
        with store:
            # Rows are numbered in the order of appending, so a row of a result is a row of `items`.
            store.append([Item(id=str(row), uri=str(row)) for row in range(count)], items)
            results = search.run(plan, queries, store.view(), k)
    ranks = [
        metrics.rank_in_list(result.rows, result.scores, wanted, count)
        for result, wanted in zip(results, relevant, strict=True)
    ]
    return np.array(ranks, np.int64)


def _usable(samples: Iterable[Sample], failed: list[Failure]) -> Iterable[Sample]:
    for sample in samples:
        missing = "picture" if sample.image is None else "caption" if not sample.captions else None
        if missing is None:
            yield sample
        else:
            failed.append(Failure(uri=sample.uri, error=f"has no {missing}, so it was left out"))


def _protocol(pairs: EncodedPairs, split: str | None) -> str:
    """Such as "1,000 images, 5,000 texts (5 a picture), split val"."""
    images, texts = len(pairs.images), len(pairs.texts)
    counts = np.bincount(pairs.picture_of, minlength=images)
    least, most = int(counts.min()), int(counts.max())
    each = f"{least}" if least == most else f"{least} to {most}"
    line = f"{images:,} images, {texts:,} texts ({each} a picture)"
    return f"{line}, split {split}" if split else line


def _nothing(failed: list[Failure]) -> str:
    reasons = first_reasons(failed)
    return (
        f"the source has no picture with a caption, so there is nothing to evaluate{'; ' if reasons else ''}"
        f"{reasons}. Give a source with captions"
    )
