"""Models of transformers, and levels on top of them, as model folders that run without torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hivlp.encode import load
from hivlp.encode.base import assets
from hivlp.encode.heads import Head, Mlp, write_heads
from hivlp.encode.onnx import OnnxEncoder
from hub_models import FAMILIES, made
from micro import micro_folder
from ran import Ran

TEXTS = ["a dog", "Two cats, left of a 7.30 boat", "x", "", "a very long text about nothing at all"]
PICTURES = [
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (32, 32, 3), dtype=np.uint8)) for n in range(3)
]


def whole(family: str) -> list[Image.Image]:
    """Pictures of which nothing is scaled; ALIGN's processor scales to 36 and cuts 32 out."""
    return [picture.resize((36, 36)) for picture in PICTURES] if family == "align" else PICTURES


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "siglip2"])
def test_a_model_of_transformers_becomes_a_folder_that_onnx_runs(
    family: str, tmp_path: Path, hivlp: Callable[..., Ran]
) -> None:
    source, _, _ = made(family, tmp_path / "source")
    done = hivlp("export", f"hf:{source}", "--out", tmp_path / "made", "--json")
    assert done.code == 0, done.err
    assert done.document["max_abs_diff"] < 1e-4
    assert min(done.document["source_cosine"].values()) > 0.999
    ours, theirs = load(tmp_path / "made"), load(source)
    assert isinstance(ours, OnnxEncoder) and ours.widths == theirs.widths
    np.testing.assert_allclose(ours.encode_texts(TEXTS).fine, theirs.encode_texts(TEXTS).fine, atol=1e-4)
    np.testing.assert_allclose(
        ours.encode_images(whole(family)).fine, theirs.encode_images(whole(family)).fine, atol=1e-4
    )
    assert [ours.cuts(text) for text in TEXTS] == [theirs.cuts(text) for text in TEXTS]


def test_levels_on_top_are_folded_in(tmp_path: Path, hivlp: Callable[..., Ran]) -> None:
    source, _, _ = made("clip", tmp_path / "source")
    random = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    mlp = Mlp(drawn(24, 6), drawn(6, 8))
    heads = {
        4: Head(source=24, image_SD=drawn(24, 4), text_SD=drawn(24, 4)),
        8: Head(source=24, image_SD=drawn(24, 8), text_SD=drawn(24, 8), image_mlp=mlp, text_mlp=mlp),
        24: Head.prefix(24, 24, "kept"),
    }
    write_heads(tmp_path / "levels", source, heads, name="test")
    (tmp_path / "levels" / "README.md").write_text("the card", "utf-8")
    done = hivlp("export", tmp_path / "levels", "--out", tmp_path / "made", "--json")
    assert done.code == 0, done.err
    ours, theirs = load(tmp_path / "made"), load(tmp_path / "levels")
    assert isinstance(ours, OnnxEncoder) and ours.widths == theirs.widths == (4, 8, 24)
    for width in ours.widths:
        np.testing.assert_allclose(
            ours.encode_texts(TEXTS)[width], theirs.encode_texts(TEXTS)[width], atol=1e-4
        )
        np.testing.assert_allclose(
            ours.encode_images(PICTURES)[width], theirs.encode_images(PICTURES)[width], atol=1e-4
        )
    assert (tmp_path / "made" / "README.md").read_text("utf-8") == "the card"


def test_what_can_not_be_written_is_refused(tmp_path: Path, hivlp: Callable[..., Ran]) -> None:
    source, _, _ = made("clip", tmp_path / "source")
    done = hivlp("export", f"hf:{source}")
    assert done.code == 2 and "name the model folder to write with --out DIR" in done.err
    done = hivlp("export", source, "--out", source)
    assert done.code == 2 and "is not empty; name a new folder with --out" in done.err
    naflex, _, _ = made("siglip2", tmp_path / "naflex")
    done = hivlp("export", naflex, "--out", tmp_path / "made")
    assert done.code == 2 and "is a SigLIP 2 NaFlex" in done.err
    assert not (tmp_path / "made").exists()


def test_a_model_folder_becomes_a_whole_folder_elsewhere(tmp_path: Path, hivlp: Callable[..., Ran]) -> None:
    source = micro_folder(tmp_path / "source")
    (source / "README.md").write_text("the card with ![curves](curves.png)", "utf-8")
    for name in ("curves.png", "other.png"):
        PICTURES[0].save(source / name)
    done = hivlp("export", source, "--out", tmp_path / "made", "--json")
    assert done.code == 0, done.err
    assert done.document["model"] == str(tmp_path / "made")
    written = {path.name for path in (tmp_path / "made").iterdir()}
    assert written == {
        "README.md", "config.json", "curves.png", "image.onnx", "model.safetensors", "text.onnx",
        "tokenizer.json",
    }  # fmt: skip
    theirs = load(source, runtime="torch")
    moved = (tmp_path / "made").rename(tmp_path / "moved")
    shutil.rmtree(source)
    ours = load(moved)
    assert isinstance(ours, OnnxEncoder) and ours.fingerprint == theirs.fingerprint
    np.testing.assert_allclose(ours.encode_texts(TEXTS).fine, theirs.encode_texts(TEXTS).fine, atol=1e-4)
    np.testing.assert_allclose(
        ours.encode_images(PICTURES).fine, theirs.encode_images(PICTURES).fine, atol=1e-4
    )


def test_nothing_is_written_into_the_package(hivlp: Callable[..., Ran]) -> None:
    shipped = assets() / "mini"
    before = {path: path.stat().st_mtime_ns for path in shipped.iterdir()}
    for model in ("mini", shipped, f"{shipped}/../mini"):
        done = hivlp("export", model)
        assert (
            done.code == 2
            and "is part of the package and is not changed: name a folder with --out DIR" in done.err
        )
    done = hivlp("export", "mini", "--out", shipped)
    assert done.code == 2 and "is part of the package and is not changed" in done.err
    done = hivlp("export", "mini", "--out", shipped.parent)
    assert done.code == 2 and "is not empty; name a new folder with --out" in done.err
    assert {path: path.stat().st_mtime_ns for path in shipped.iterdir()} == before
