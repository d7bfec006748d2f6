"""Peak memory and time of a training step with and without GradCache: prints one JSON document.

    python benchmarks/grad_cache.py --batch 4096 --chunk 256

The model is that of the preset `tiny`; pictures are noise and captions random words. Memory is the peak of a
process of each variant, torch included. Times are of one process that takes both steps in turns, so that a
busy machine slows both; of each kind the fastest counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from hivlp.config import TrainConfig
from hivlp.model.dual import DualEncoder
from hivlp.train.batches.batch import Batch, RandomRows
from hivlp.train.loop import train_step
from hivlp.train.optim import make_optimizer
from hivlp.train.presets import load_preset
from hivlp.train.step import Task


def noise(config: TrainConfig, count: int, *, words: int = 14) -> Batch:
    random = np.random.default_rng(0)
    size = config.model.preprocessing.size
    return Batch(
        pixels_BCHW=random.integers(0, 256, (count, 3, size, size), dtype=np.uint8),
        boxes_B4=np.tile(np.array([0, 0, 1, 1], np.float32), (count, 1)),
        mirror_B=np.zeros(count, bool),
        tokens_TL=random.integers(5, config.model.vocabulary, (count, words)),
        mask_TL=np.ones((count, words), np.int64),
        picture_B=np.arange(count),
        picture_of_text_T=np.arange(count),
        wording_T=np.arange(count),
        features_BD=np.zeros((count, 0), np.float32),
        has_view_B=np.zeros(count, bool),
        random_rows=RandomRows(seed=(0, 0), whole=count, places_B=np.arange(count)),
    )


class Trainer:
    """A model that takes the same step again and again."""

    def __init__(self, batch_size: int, chunk: int) -> None:
        self.config = load_preset("tiny", overrides=[f"batch_size={batch_size}", f"grad_cache={chunk}"])
        torch.manual_seed(0)
        model = DualEncoder(self.config.model)
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.task = Task(model, self.config.objective, precision=self.config.precision, grad_cache=chunk)
        self.optimizer = make_optimizer(self.task.train(), self.config.optimisation)
        self.batch = noise(self.config, batch_size)

    def step(self) -> float:
        """Seconds of one step."""
        started = time.perf_counter()
        train_step(self.task, self.batch, self.optimizer, rate=1e-3)
        return time.perf_counter() - started


def peak_mb(batch_size: int, chunk: int) -> int:
    """Megabytes that a process of its own needs at most for two steps."""
    command = [sys.executable, __file__, "--batch", str(batch_size), "--memory-of", str(chunk)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096, help="pictures a step")
    parser.add_argument("--chunk", type=int, default=256, help="pictures in memory at a time with GradCache")
    parser.add_argument("--pairs", type=int, default=5, help="measured steps of each kind")
    parser.add_argument(
        "--memory-of", type=int, metavar="CHUNK", help="only print the peak of two steps, in MB"
    )
    options = parser.parse_args()
    if options.memory_of is not None:
        trainer = Trainer(options.batch, options.memory_of)
        for _ in range(2):
            trainer.step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 1_000_000)
        return
    memory = {
        name: peak_mb(options.batch, chunk) for name, chunk in (("plain", 0), ("cached", options.chunk))
    }
    plain, cached = Trainer(options.batch, 0), Trainer(options.batch, options.chunk)
    plain.step()
    cached.step()
    pairs = [(plain.step(), cached.step()) for _ in range(options.pairs)]
    fastest = {name: min(pair[i] for pair in pairs) for i, name in enumerate(memory)}
    document = {
        "batch": options.batch,
        "chunk": options.chunk,
        "peak_mb": memory,
        "step_s": {name: round(seconds, 3) for name, seconds in fastest.items()},
        "times_plain": round(fastest["cached"] / fastest["plain"], 3),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
