"""A few drawn scenes with the splits of Flickr8k, for tests of the comparison of systems."""

from __future__ import annotations

from pathlib import Path

from hivlp import scenes

TRAIN, VAL, LEFT_OVER = 24, 16, 4


def drawn(folder: Path) -> Path:
    """Writes pictures and a table of captions; gives the table."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image\tsplit\tcaption"]
    count = TRAIN + VAL + LEFT_OVER
    for number, sample in enumerate(scenes.samples(count, seed=1, size=48, split="train")):
        name = f"{number}.png"
        (folder / name).write_bytes(sample.read())
        split = "train" if number < TRAIN else "val" if number < TRAIN + VAL else "unused"
        lines += [f"{name}\t{split}\t{caption}" for caption in sample.captions[:5]]
    table = folder / "captions.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table
