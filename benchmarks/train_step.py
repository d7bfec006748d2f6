"""A training step of HiVLP beside a plain PyTorch loop over the same towers and loss: prints a document.

    python benchmarks/train_step.py --batch 128 --steps 20 --crop

Model and loss are those of the preset `tiny`, on drawn scenes that are packed beforehand. The plain loop has
its whole batch ready in memory, decoded and tokenised, and does nothing but forward, loss, backward, clipping
and update. It augments nothing: with --crop HiVLP's step also cuts a new crop of every picture and mirrors
half of them, without it pictures stay whole in both. Both take their steps in turns, so that a busy machine
slows both; it prints the median and the fastest of each. The share of waiting is that of HiVLP's own loop for
its data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from hivlp.config import TrainConfig
from hivlp.train.distributed import World
from hivlp.train.loop import train_step
from hivlp.train.optim import make_optimizer
from hivlp.train.prepare import Prepared, opened, prepare
from hivlp.train.presets import load_preset


def prepared(config: TrainConfig, folder: Path) -> Prepared:
    return prepare(config, [opened(source) for source in config.sources], folder, World(), lambda *_: None)


def ours(config: TrainConfig, folder: Path, steps: int, waited: list[float]) -> Iterator[None]:
    """A step each time, as the loop of a run takes it; adds the seconds that it waited for data."""
    parts = prepared(config, folder)
    optimizer = make_optimizer(parts.task.train(), config.optimisation)
    since = time.perf_counter()
    for batch in parts.mixture.batches(0, steps):
        waited.append(time.perf_counter() - since)
        train_step(parts.task, batch, optimizer, rate=1e-3)
        yield
        since = time.perf_counter()


def plain(config: TrainConfig, folder: Path, steps: int) -> Iterator[None]:
    """The same towers and loss, in as few lines as a person would write for one batch in memory."""
    parts = prepared(config, folder)
    model, batch = parts.task.model.train(), parts.mixture.batch(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    pixels = F.interpolate(torch.from_numpy(batch.pixels_BCHW).float(), size=config.model.preprocessing.size)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    tokens, mask = torch.from_numpy(batch.tokens_TL), torch.from_numpy(batch.mask_TL)
    right = torch.arange(len(pixels))
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            image_BF, text_BF = model.image_features(pixels), model.text_tower(tokens, mask)
        image, text = model.image_levels(image_BF.float()), model.text_levels(text_BF.float())
        loss: Tensor = torch.zeros(())
        for width, scale in model.logit_scales.items():
            logits = scale * image[width] @ text[width].T
            loss = loss + (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        yield


def timed(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="pictures a step")
    parser.add_argument("--steps", type=int, default=20, help="measured steps of each kind")
    parser.add_argument("--crop", action="store_true", help="crop and mirror, in HiVLP's step only")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    options = parser.parse_args()
    crop = json.dumps(options.crop)
    config = load_preset(
        "tiny",
        overrides=[
            f"batch_size={options.batch}",
            f"precision={options.precision}",
            f'sources=[{{"spec":"scenes:512?size=64","crop":{crop}}}]',
        ],
    )
    waited: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        count = options.steps + 3
        runs = ours(config, Path(folder), count, waited), plain(config, Path(folder), count)
        pairs = [tuple(timed(lambda run=run: next(run)) for run in runs) for _ in range(count)][3:]
    mine, bare = zip(*pairs, strict=True)
    document = {
        "batch": options.batch,
        "precision": config.precision,
        "crop": options.crop,
        "ours_s": {"median": statistics.median(mine), "fastest": min(mine)},
        "plain_s": {"median": statistics.median(bare), "fastest": min(bare)},
        "speed": {
            "median": statistics.median(bare) / statistics.median(mine),
            "fastest": min(bare) / min(mine),
        },
        "data_wait": sum(waited[3:]) / sum(mine),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
