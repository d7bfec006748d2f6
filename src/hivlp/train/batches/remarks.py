"""What a person should know about the data of a run before its first step; it changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from hivlp.data.tokenizer import Tokenizer
from hivlp.messages import counted
from hivlp.train.batches.pack import Pack


def remarks(
    names: Sequence[str], packs: Sequence[Pack], counts: Sequence[int], tokenizer: Tokenizer
) -> Iterator[str]:
    """Sentences on sources that are smaller than their part of a batch, on long and on equal captions.

    Args:
        names: of the sources, for people.
        counts: images of each source in a batch.
    """
    for name, pack, count in zip(names, packs, counts, strict=True):
        if len(pack) < count:
            yield (
                f"{name} has {counted(len(pack), 'image')}, and every batch takes {count:,} of it: images "
                "repeat within a batch and have few others to be told from; set batch_size to "
                f"{len(pack):,} or less, or add images"
            )
        cut = sum(tokenizer.cuts(caption) for captions in pack.captions for caption in captions)
        total = sum(map(len, pack.captions))
        if cut:
            yield (
                f"{name}: {cut:,} of {counted(total, 'caption')} are longer than the model reads; the "
                "rest of each is ignored"
            )
        equal = shared_captions(pack.captions)
        if equal:
            yield (
                f"{name}: {equal:,} of {counted(total, 'caption')} are worded like one of another image; "
                "they are right answers for each other, and no negatives"
            )


def shared_captions(captions: Sequence[Sequence[str]]) -> int:
    """How many captions are worded like one of another image, in any letter case."""
    images = Counter(word for own in captions for word in {caption.casefold() for caption in own})
    return sum(images[caption.casefold()] > 1 for own in captions for caption in own)
