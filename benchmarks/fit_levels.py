"""What levels of a frozen encoder are worth on real photographs: truncation, a PCA rotation, learned heads.

    python benchmarks/fit_levels.py flickr8k/captions.tsv mobilenet_v2_1.0_224_quant.tflite --out runs/f8k

The encoder has one width of 512: pooled features of a frozen MobileNetV2 through a head, and a weighted bag
of words, trained together by a plain contrastive loss over all captions of each picture. Prints a JSON
document for each kind of heads.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hivlp.config import FitLevelsConfig, Preprocessing
from hivlp.data.images import load_pixels
from hivlp.data.sources import open_source
from hivlp.evaluate.protocols import EncodedPairs
from hivlp.fit_levels.cache import Cached
from hivlp.fit_levels.run import compare
from hivlp.model.levels import LevelHead, unit
from hivlp.objectives.retrieval import hierarchical, positives
from hivlp.types import Embeddings
from hivlp_lab.flickr8k.tflite import Tflite

WIDTH, POOLED = 512, 176


class Pair(nn.Module):
    """A head on picture features, and a bag of words in which each word has a weight."""

    def __init__(self, features: int, words: int) -> None:
        super().__init__()
        self.image = LevelHead(features, WIDTH, 1024)
        self.words = nn.EmbeddingBag(words, WIDTH, mode="sum")
        nn.init.normal_(self.words.weight, std=0.1)
        self.log_weight_W = nn.Parameter(torch.zeros(words))
        self.image_dropout, self.text_dropout = nn.Dropout(0.6), nn.Dropout(0.2)
        self.log_scale = nn.Parameter(torch.tensor(2.66))

    def images(self, features_BF: Tensor) -> Tensor:
        return unit(self.image(self.image_dropout(features_BF)))

    def texts(self, bags: list[Tensor]) -> Tensor:
        starts, words = torch.tensor([0, *np.cumsum([len(bag) for bag in bags])[:-1]]), torch.cat(bags)
        bag_TD = self.words(words, starts, per_sample_weights=self.log_weight_W[words].exp())
        return unit(self.text_dropout(bag_TD))


def read(data: str, split: str, backbone: Path, out: Path) -> tuple[np.ndarray, list[list[str]]]:
    """Pooled features (I, 2, F) of pictures and their mirror images, and captions of a split.

    Features are kept on the disk.
    """
    samples = list(open_source(data, split=split))
    kept = out / f"{split}.npy"
    if not kept.is_file():
        model = Tflite(backbone, tensor=POOLED)
        square = Preprocessing(size=224, interpolation="bicubic")
        pixels = (load_pixels(sample.read(), square) for sample in samples)
        both = [[model.features(one) for one in (picture, picture[..., ::-1])] for picture in pixels]
        np.save(kept, np.array(both))
    return np.load(kept).astype(np.float32), [list(sample.captions) for sample in samples]


def train(model: Pair, image_I2F: Tensor, bags: list[list[Tensor]], *, epochs: int, batch: int = 500) -> None:
    """Trains on pictures or their mirror images, each with all of its captions."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=epochs * (len(bags) // batch), pct_start=0.1
    )
    random = np.random.default_rng(0)
    for _ in range(epochs):
        order = random.permutation(len(bags))
        for start in range(0, len(order) - batch + 1, batch):
            rows = order[start : start + batch]
            number_T = torch.tensor([place for place, row in enumerate(rows) for _ in bags[row]])
            images = model.images(image_I2F[rows, random.integers(2, size=batch)])
            words = model.texts([bag for row in rows for bag in bags[row]])
            own = positives(torch.arange(batch), number_T)
            scale = {WIDTH: model.log_scale.clamp(max=4.6).exp()}
            loss = sum(hierarchical({WIDTH: images}, {WIDTH: words}, own, scale).values())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # pyright: ignore[reportAttributeAccessIssue]
            optimizer.step()
            schedule.step()


@torch.inference_mode()
def vectors(model: Pair, image_I2F: Tensor, captions: list[list[str]], bags: list[list[Tensor]]) -> Cached:
    picture_of = np.repeat(np.arange(len(bags)), [len(each) for each in bags])
    flat = [bag for each in bags for bag in each]
    texts = torch.cat([model.texts(flat[start : start + 1000]) for start in range(0, len(flat), 1000)])
    pairs = EncodedPairs(
        images=Embeddings({WIDTH: model.images(image_I2F.mean(dim=1)).numpy()}),
        texts=Embeddings({WIDTH: texts.numpy()}),
        picture_of=picture_of,
        failed=[],
    )
    wording_T = np.unique([text for each in captions for text in each], return_inverse=True)[1]
    return Cached(pairs, [str(row) for row in range(len(bags))], wording_T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("backbone", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--widths", default="8,16,32,64,128")
    parser.add_argument("--heads", default="linear,mlp")
    parser.add_argument("--binary", type=int, default=256)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    features, captions, bags = {}, {}, {}
    for split in ("train", "val"):
        features[split], captions[split] = read(options.data, split, options.backbone, options.out)
    counts = Counter(word for each in captions["train"] for text in each for word in words_of(text))
    number = {word: n for n, word in enumerate((w for w, count in counts.items() if count > 1), start=1)}
    mean_F, std_F = features["train"].mean(axis=(0, 1)), features["train"].std(axis=(0, 1)) + 0.05
    for split in features:
        features[split] = torch.from_numpy((features[split] - mean_F) / std_F)
        bags[split] = [
            [torch.tensor([number.get(word, 0) for word in words_of(text)] or [0]) for text in each]
            for each in captions[split]
        ]
    model = Pair(features["train"].shape[2], len(number) + 1)
    train(model, features["train"], bags["train"], epochs=options.epochs)
    model.eval()
    taught, held = (vectors(model, features[s], captions[s], bags[s]) for s in ("train", "val"))
    widths = tuple(sorted({*map(int, options.widths.split(",")), WIDTH}))
    for heads in options.heads.split(","):
        config = FitLevelsConfig(widths=widths[:-1], heads=heads, binary=options.binary)
        started = time.perf_counter()
        result = compare(
            taught,
            held.pairs,
            widths,
            (WIDTH,),
            config,
            options.out,
            device=torch.device("cpu"),
            progress=lambda line, *_: say(line),
        )
        document = {"heads": heads, "seconds": round(time.perf_counter() - started, 1)}
        print(
            json.dumps({**document, "epochs": result.learned.epoch, "levels": result.as_dict()}), flush=True
        )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


if __name__ == "__main__":
    main()
