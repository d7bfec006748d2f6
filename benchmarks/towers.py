"""Compares compact picture towers at equal cost: the same pictures, teacher and processor time.

    python benchmarks/towers.py DATA --minutes 10 --work FOLDER

DATA is the folder that the preset `mini` takes. Each tower starts from random weights and learns to tell a
teacher's averaged features of the same crops of Flickr8k's training pictures, on one thread, for the
processor time that the tower of `mini` takes to learn by stages, as the preset has it, in about MINUTES.
What a tower has learned is asked in two ways that need no further training: how much of the variance of the
teacher's features it explains on the pictures of val, and text→image R@10 there of a linear canonical
correlation analysis of its features and words. What a picture takes in ONNX Runtime stands beside that: input
and widths are of one class, and times are not equal. FOLDER keeps what was packed and measured: a second call
goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from model_card import milliseconds
from onnxruntime import InferenceSession
from torch import Tensor, nn
from torch.nn import functional as F

from hivlp.config import ModelConfig, Optimisation, parse
from hivlp.data.pack import Pack, pack
from hivlp.data.sources import open_source
from hivlp.encode.export import export_features
from hivlp.encode.onnx import open_graph
from hivlp.model.dual import DualEncoder
from hivlp.reproduce.flickr8k import cca, corpus, scoring
from hivlp.train.memory import keep_freed
from hivlp.train.optim import make_optimizer
from hivlp.train.presets import load_preset, mobilenet, resnet
from hivlp.train.reinforce import Reinforced, reinforce
from hivlp.train.stages import learn_stages
from hivlp.train.teacher import TfliteTeacher
from hivlp.train.views import crop

RESULTS = Path(__file__).parent / "results"
SIZE, POOLED, BATCH, RATE = 192, 176, 32, 2e-3
BY_STAGES = "MobileNetV2, by stages"
TOWERS: dict[str, dict[str, Any]] = {
    "MobileNetV2": mobilenet(),
    "ResNet of basic blocks": resnet(stem=32, sizes=[32, 64, 160, 384], depths=[1, 2, 2, 1]),
    "ConvNeXt V2": {
        "kind": "convnextv2",
        "options": {"hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 4, 2]},
    },
    "LeViT (convolutions, then attention)": {
        "kind": "levit",
        "options": {
            "hidden_sizes": [96, 160, 288],
            "num_attention_heads": [3, 5, 9],
            "key_dim": [16, 16, 16],
            "depths": [2, 3, 4],
        },
    },
}


@dataclass(frozen=True, slots=True)
class Lessons:
    """Pictures of one split, and what the teacher says of their views, standardised."""

    pack: Pack
    views: Reinforced
    mean_F: Tensor
    scale_F: Tensor

    def batch(self, rows_B: np.ndarray, view_B: np.ndarray) -> tuple[Tensor, Tensor]:
        """Crops (B, 3, S, S) in [0, 255] and what is to be told of them (B, F)."""
        boxes_B4 = torch.from_numpy(self.views.boxes_NV4[rows_B, view_B])
        pixels = torch.from_numpy(np.asarray(self.pack.pixels_NCHW[rows_B]))
        shown = crop(pixels, boxes_B4, torch.zeros(len(rows_B), dtype=torch.bool), size=SIZE)
        return shown, self._standardised(self.views.features_NVD[rows_B, view_B])

    def whole(self) -> Tensor:
        """What is to be told of every whole picture (N, F)."""
        return self._standardised(self.views.features_NVD[:, 0])

    def _standardised(self, said: np.ndarray) -> Tensor:
        return (torch.from_numpy(said.astype(np.float32)) - self.mean_F) / self.scale_F


def lessons(data: str, work: Path) -> dict[str, Lessons]:
    """Flickr8k's train and val, packed, with the teacher's averaged features of three views and of one."""
    teacher = TfliteTeacher(Path(teacher_of(data)), tensor=POOLED, size=224)
    found = dict[str, Lessons]()
    mean_F = scale_F = torch.zeros(0)
    for split, views in (("train", 3), ("val", 1)):
        source = open_source(flickr(data), split=split)
        packed = pack(source, work, size=SIZE, key=f"{flickr(data)}|{split}", progress=print)
        said = reinforce(source, packed, teacher, views=views, min_area=0.5, progress=print)
        if split == "train":
            whole_NF = torch.from_numpy(said.features_NVD[:, 0].astype(np.float32))
            mean_F, scale_F = whole_NF.mean(dim=0), whole_NF.std(dim=0).clamp(min=1e-2)
        found[split] = Lessons(packed, said, mean_F, scale_F)
    return found


def flickr(data: str) -> str:
    return f"{data}/flickr8k/captions.tsv"


def teacher_of(data: str) -> str:
    config = load_preset("mini", data=data)
    assert config.teacher is not None
    return config.teacher.path


def built(tower: dict[str, Any]) -> DualEncoder:
    """A model around a tower; its text side is never asked."""
    values = {
        "name": "tower",
        "image": {**tower, "norm": True},
        "text": load_preset("mini", data="x").model.text.model_dump(),
        "preprocessing": {"size": SIZE},
    }
    torch.manual_seed(0)
    return DualEncoder(parse(ModelConfig, values, where="tower"))


def taught(model: DualEncoder, given: Lessons, seconds: float) -> int:
    """Trains tower and a linear head for some processor time; returns how many views were seen."""
    head = nn.Linear(model.image_tower.width, len(given.mean_F))
    both = nn.ModuleList([model.image_tower, head]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(both, Optimisation(learning_rate=RATE, weight_decay=0.02))
    random, seen, warm_up = np.random.default_rng(0), 0, 30
    started = time.process_time()
    both.train()
    while (spent := (time.process_time() - started) / seconds) < 1:
        step = seen // BATCH
        rate = RATE * min(1, (step + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * spent))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows_B = random.integers(len(given.pack), size=BATCH)
        view_B = random.integers(given.views.boxes_NV4.shape[1], size=BATCH)
        shown, said_BF = given.batch(rows_B, view_B)
        loss = F.mse_loss(head(model.image_features(shown)), said_BF)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        seen += BATCH
    return seen


def by_stages(model: DualEncoder, data: str, minutes: float, work: Path) -> int:
    """The tower of `mini` as the preset has it, on Flickr8k alone; views that it saw in one piece."""
    config = load_preset("mini", data=data)
    share = minutes / (83 + 79)  # what all of its steps take on one core (the model's card)
    (source,) = (one for one in config.stages.sources if one.split == "train" and "flickr8k" in one.spec)
    stages = config.stages.model_copy(
        update={
            "sources": (source.model_copy(update={"views": 1}),),
            "steps": tuple(max(60, round(share * steps)) for steps in config.stages.steps),
            "joint_steps": round(share * config.stages.joint_steps),
        }
    )
    config = config.model_copy(update={"stages": stages})

    def packed() -> list[Pack]:
        source = open_source(flickr(data), split="train")
        return [pack(source, work, size=SIZE, key=f"{flickr(data)}|train", progress=print)]

    learn_stages(model, config, packed, work / "stages", print)
    return stages.joint_steps * stages.batch_size


def features(graph: InferenceSession, given: Lessons) -> Tensor:
    """Of whole pictures (N, F), as they come."""
    blocks = np.array_split(np.arange(len(given.pack)), max(1, len(given.pack) // BATCH))
    rows = [graph.run(None, {"pixels": given.pack.pixels_NCHW[one]})[0] for one in blocks]
    return torch.from_numpy(np.concatenate(rows))


def asked(graph: InferenceSession, given: dict[str, Lessons], texts: Words) -> dict[str, float]:
    """What the tower's features tell of val: the teacher's features, and which captions belong to them."""
    train_NF, val_NF = features(graph, given["train"]), features(graph, given["val"])
    mean_F, scale_F = train_NF.mean(dim=0), train_NF.std(dim=0).clamp(min=1e-4)
    train_NF, val_NF = (train_NF - mean_F) / scale_F, (val_NF - mean_F) / scale_F
    return {
        "variance_explained": explained(train_NF, val_NF, given),
        "text_to_image_R@10": texts.recall(train_NF, val_NF),
    }


def explained(train_NF: Tensor, val_NF: Tensor, given: dict[str, Lessons], *, ridge: float = 0.1) -> float:
    """The share of the variance of the teacher's features that a ridge regression tells on val."""
    said_NT, val_NT = given["train"].whole(), given["val"].whole()
    square_FF = train_NF.T @ train_NF + ridge * len(train_NF) * torch.eye(train_NF.shape[1])
    told_NT = val_NF @ torch.linalg.solve(square_FF, train_NF.T @ said_NT)
    return round(
        1 - float((val_NT - told_NT).square().sum() / (val_NT - val_NT.mean(dim=0)).square().sum()), 4
    )


class Words:
    """The captions of both splits as TF-IDF words, in the order of the packs."""

    def __init__(self, data: str, given: dict[str, Lessons]) -> None:
        texts = corpus.read(flickr(data), vocabulary=5000, max_tokens=40)
        tokens_TL, real_TL = torch.from_numpy(texts.tokens_TL), torch.from_numpy(texts.mask_TL) > 0
        vocabulary = texts.tokenizer.vocabulary_size
        rows = {sample.id: row for row, sample in enumerate(texts.samples)}
        self._rows = {split: np.array([rows[name] for name in one.pack.ids]) for split, one in given.items()}
        train_T = texts.texts(self._rows["train"])
        seen_V = torch.zeros(vocabulary)
        for row in train_T:
            seen_V[torch.unique(tokens_TL[row][real_TL[row]])] += 1
        rarity_V = torch.log(len(train_T) / seen_V.clamp(min=1))
        self._of = {}
        for split, pictures in self._rows.items():
            chosen_T = texts.texts(pictures)
            place_T = np.repeat(
                np.arange(len(pictures)), [int((texts.texts_IM[one] >= 0).sum()) for one in pictures]
            )
            self._of[split] = cca.tf_idf(tokens_TL[chosen_T], real_TL[chosen_T], rarity_V), place_T

    def recall(self, train_NF: Tensor, val_NF: Tensor) -> float:
        """Text→image R@10 on val, in percent, of the analysis of train."""
        words_TV, place_T = self._of["train"]
        floor = cca.fit(train_NF[torch.from_numpy(place_T)], words_TV, components=256)
        words_TV, place_T = self._of["val"]
        scores_TI = floor.texts(words_TV) @ floor.images(val_NF).T
        return round(scoring.of_scores(scores_TI.numpy(), place_T).text_to_image.at[10], 2)


def exported(model: DualEncoder) -> InferenceSession:
    """The tower as it is used, on one thread."""
    with TemporaryDirectory() as folder:
        return open_graph(export_features(model.eval(), Path(folder) / "tower.onnx"), threads=1)


def cost(model: DualEncoder, graph: InferenceSession) -> dict[str, float]:
    """Milliseconds of a picture on one thread, and megabytes of the tower's weights in half precision."""
    pixels = np.zeros((1, 3, SIZE, SIZE), np.uint8)
    numbers = sum(weight.numel() for weight in model.image_tower.parameters())
    return {
        "picture_ms": milliseconds(lambda: graph.run(None, {"pixels": pixels}), repeats=100),
        "megabytes": round(2 * numbers / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="folder of data, as of `hivlp train --preset mini --data`")
    parser.add_argument("--minutes", type=float, default=10, help="about the processor time of each tower")
    parser.add_argument("--work", type=Path, required=True, help="folder for packs, features and results")
    asked_for = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    keep_freed()
    data, work, minutes = asked_for.data, asked_for.work, asked_for.minutes
    given = lessons(data, work)
    texts = Words(data, given)
    done = work / f"towers-{minutes:g}.json"
    rows: dict[str, Any] = json.loads(done.read_text()) if done.is_file() else {}
    for name, tower in {BY_STAGES: mobilenet(), **TOWERS}.items():
        if name in rows:
            continue
        model = built(tower)
        spent = time.process_time()
        if name == BY_STAGES:
            views = by_stages(model, data, minutes, work)
        else:
            views = taught(model, given["train"], 60 * rows[BY_STAGES]["minutes"])
        spent = time.process_time() - spent
        graph = exported(model)
        rows[name] = {
            "minutes": round(spent / 60, 2),
            "views": views,
            **asked(graph, given, texts),
            **cost(model, graph),
        }
        print(name, rows[name], flush=True)
        done.write_text(json.dumps(rows, indent=1) + "\n")
    where = {"machine": platform.machine(), "cpus": os.cpu_count(), "torch": torch.__version__}
    document = {
        "environment": where,
        "size": SIZE,
        "minutes": minutes,
        "teacher_text_to_image_R@10": texts.recall(given["train"].whole(), given["val"].whole()),
        "towers": rows,
    }
    name = f"towers-{where['machine']}-{where['cpus']}cpu-torch{where['torch']}.json"
    (RESULTS / name).write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
