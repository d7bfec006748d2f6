"""Models of transformers: equal to transformers' own, found where they lie, refused where not to trust."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

import hivlp as package
from fakes import gallery, painted
from hivlp.encode import encode_stream, hub, load
from hivlp.encode.base import Encoder
from hivlp.errors import ImageError, MissingExtraError, ModelError
from hivlp.types import FloatArray, Sample
from hub_models import FAMILIES, LENGTH, made
from ran import Ran

TEXTS = ["a dog", "two boats, left of a lighthouse 3", "x"]
SIZES = [(50, 70), (33, 90), (120, 40)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each family; do not change them."""
    root = tmp_path_factory.mktemp("hub")
    return {family: made(family, root / family)[0] for family in FAMILIES}


@pytest.fixture
def clip(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the CLIP that a test may change."""
    return Path(shutil.copytree(folders["clip"], tmp_path / "clip"))


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in SIZES]


def unit(features: Any) -> FloatArray:
    rows = getattr(features, "pooler_output", features).numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_are_those_of_transformers(folders: dict[str, Path], family: str) -> None:
    folder = folders[family]
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    fixed = family in ("siglip", "siglip2", "align")
    own: dict[str, Any] = {"padding": "max_length", "max_length": LENGTH} if fixed else {"padding": True}
    # transformers' SigLIP 2 processor has defaults that go before the model's own preprocessor_config.json
    extra = {"max_num_patches": 16, "patch_size": 8} if family == "siglip2" else {}
    with torch.no_grad():
        words = processor(text=TEXTS, truncation=True, return_tensors="pt", **own)
        text_TD = unit(model.get_text_features(**words))
        image_ID = unit(
            model.get_image_features(**processor(images=pictures(), return_tensors="pt", **extra))
        )
    encoder = load(f"hf:{folder}")
    np.testing.assert_allclose(encoder.encode_texts(TEXTS).fine, text_TD, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(pictures()).fine, image_ID, atol=1e-5)
    assert encoder.widths == (text_TD.shape[1],)
    assert np.ptp(image_ID, axis=0).max() > 1e-4, "the pictures are told apart, or the test shows nothing"
    assert np.ptp(text_TD, axis=0).max() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_streaming_gives_the_same_and_one_bad_picture_is_one_failure(
    folders: dict[str, Path], family: str, tmp_path: Path
) -> None:
    encoder = load(folders[family])
    for number, picture in enumerate(pictures()):
        picture.save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    names = ["0.png", "bad.png", "1.png", "2.png"]
    samples = [Sample(id=name, uri=name, image=tmp_path / name) for name in names]
    batches = list(encode_stream(encoder, samples, batch_size=3))
    streamed = np.concatenate([batch.embeddings.fine for batch in batches])
    np.testing.assert_allclose(streamed, encoder.encode_images(pictures()).fine, atol=1e-5)
    assert [failure.uri for batch in batches for failure in batch.failures] == ["bad.png"]
    assert batches[0].sizes[0] == (70, 50)


@pytest.mark.parametrize("package_name", ["torch", "transformers"])
def test_what_is_not_installed_is_said_before_the_hub_is_asked(
    monkeypatch: pytest.MonkeyPatch, package_name: str
) -> None:
    monkeypatch.setitem(sys.modules, package_name, None)
    monkeypatch.setattr(hub, "find", lambda spec: pytest.fail("the hub was asked"))
    with pytest.raises(MissingExtraError, match=rf"hf:owner/name needs the package '{package_name}'"):
        load("hf:owner/name")


def test_nothing_gives_no_rows(folders: dict[str, Path]) -> None:
    encoder = load(folders["clip"])
    assert encoder.encode_texts([]).fine.shape == encoder.encode_images([]).fine.shape == (0, 24)


def test_pictures_are_turned_upright_and_a_pixel_alone_is_enough(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    encoder = load(folders["clip"])
    upright = pictures()[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    turned = encoder.encode_images([tmp_path / "turned.png"])
    np.testing.assert_allclose(turned.fine, encoder.encode_images([upright]).fine, atol=1e-5)
    assert np.isfinite(encoder.encode_images([painted("red", size=(1, 1))]).fine).all()


def test_a_long_strip_is_refused_before_it_is_scaled(folders: dict[str, Path]) -> None:
    strip = Image.new("RGB", (1, 30_000))
    with pytest.raises(
        ImageError, match=r"1×30000 pixels, too long a strip .* have 30,720,000, above .* cut it"
    ):
        load(folders["clip"]).encode_images([strip])
    assert len(load(folders["siglip"]).encode_images([strip])) == 1, "a squeezed picture has no such trouble"


def test_pictures_above_the_limit_of_pixels_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ImageError, match="above the limit of 1,000"):
        load(folders["clip"]).load_picture(painted("red", size=(40, 40)), max_pixels=1_000)


def test_long_texts_are_cut_and_told_of(folders: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    encoder = load(folders["chinese_clip"])
    long = " ".join("abcdefghijklmnopqrstuvwxyz")
    with caplog.at_level(logging.WARNING):
        assert encoder.cuts(long) and not encoder.cuts("a b c")
    assert not caplog.records
    short = encoder.encode_texts([long[: 2 * LENGTH - 5]]).fine  # letters, spaces, and two marks
    np.testing.assert_allclose(encoder.encode_texts([long]).fine, short, atol=1e-5)


def test_the_fingerprint_depends_on_all_that_an_embedding_depends_on(clip: Path) -> None:
    first = load(clip).fingerprint
    assert load(f"hf:{clip}").fingerprint == first, "not on where it lies or how it is called"

    def change(name: str, **values: Any) -> str:
        before = (clip / name).read_text("utf-8")
        (clip / name).write_text(json.dumps({**json.loads(before), **values}), "utf-8")
        changed = hub.fingerprint(clip)
        (clip / name).write_text(before, "utf-8")
        return changed

    processor = json.loads((clip / "processor_config.json").read_text("utf-8"))["image_processor"]
    assert change("config.json", transformers_version="6.0", dtype="float16") == first
    others = {
        change("config.json", projection_dim=23),
        change("processor_config.json", image_processor={**processor, "image_mean": [0, 0, 0]}),
        change("tokenizer_config.json", model_max_length=5),
    }
    weights = clip / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert len({first, *others, hub.fingerprint(clip)}) == 5


def test_a_model_of_the_hub_is_an_encoder_and_names_itself(
    folders: dict[str, Path], monkeypatch: Any
) -> None:
    encoder = load(f"hf:{folders['clip']}")
    assert isinstance(encoder, Encoder)
    assert encoder.name == f"hf:{folders['clip'].resolve()}"
    monkeypatch.chdir(folders["clip"].parent)
    assert load("hf:clip").name == encoder.name, "found again from any other folder"
    with pytest.raises(ModelError, match="which the runtime 'onnx' does not run; leave the runtime out"):
        load(folders["clip"], runtime="onnx")


def test_the_commands_work_with_it(
    folders: dict[str, Path], tmp_path: Path, hivlp: Callable[..., Ran]
) -> None:
    photos = gallery(tmp_path / "photos", "red", "green-blue", "blue")
    index = tmp_path / "photos.hivlp"
    model = f"hf:{folders['clip']}"
    done = hivlp("index", photos, "--out", index, "--model", model, "--json")
    assert done.code == 0 and done.document["indexed"] == 3
    assert "computes on" in done.err
    found = hivlp("search", index, "red", "--json").document["hits"]
    image = package.load(model).encode_images([photos / "red.png"]).fine[0]
    text = package.load(model).encode_texts(["red"]).fine[0]
    score = next(hit["score"] for hit in found if hit["id"] == "red.png")
    assert score == pytest.approx(float(image @ text), abs=2e-3)
    assert hivlp("info", index, "--json").document["preprocessing"]["processor"] == "CLIPImageProcessor"
    told = hivlp("info", model, "--json").document
    assert told["widths"] == [24] and told["device"] in ("cpu", "cuda")
    measured = hivlp("eval", "--data", photos, "--model", model, "--json")
    assert measured.code == 0 and list(measured.document["levels"]) == ["24"]
    other = hivlp("search", index, "red", "--model", f"hf:{folders['siglip']}")
    assert other.code == 2 and "vectors of two models can't be compared" in other.err


def refused(folder: Path | str) -> str:
    with pytest.raises(ModelError) as caught:
        load(f"hf:{folder}")
    return str(caught.value)


def test_pickled_weights_are_refused(clip: Path) -> None:
    (clip / "model.safetensors").unlink()
    assert "has no model.safetensors; copy or download" in refused(clip)
    (clip / "pytorch_model.bin").write_bytes(b"anything")
    message = refused(clip)
    assert "pytorch_model.bin only. That is a pickle" in message and "save_pretrained(FOLDER)" in message


def test_what_is_no_dual_encoder_is_refused_with_those_that_are(clip: Path) -> None:
    config = clip / "config.json"
    values = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**values, "model_type": "bert"}), "utf-8")
    message = refused(clip)
    assert "is of type 'bert', which is not a supported dual encoder" in message
    assert "clip, siglip (SigLIP and SigLIP 2)" in message
    remote = {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}
    config.write_text(json.dumps(remote), "utf-8")
    assert "Code that comes with a model is never run" in refused(clip)
    config.write_text("[", "utf-8")
    assert "config.json is unreadable or damaged" in refused(clip)


def test_a_folder_of_open_clip_alone_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}", "utf-8")
    assert "open_clip's layout only" in refused(tmp_path)


def test_what_is_missing_is_named(clip: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (clip / name).unlink()
    assert "has no tokenizer (tokenizer.json)" in refused(clip)
    (clip / "processor_config.json").unlink()
    assert "has no preprocessor_config.json" in refused(clip)
    (tmp_path / "empty").mkdir()
    assert "has no config.json, so it is not a transformers model" in refused(tmp_path / "empty")
    assert "neither a folder nor a name on the hub" in refused("no/such/folder/here")


def test_damaged_and_foreign_weights_are_refused(clip: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = clip / "model.safetensors"
    tensors = load_file(weights)
    del tensors["visual_projection.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "lacks 1 of the model's tensors (such as visual_projection.weight)" in refused(clip)
    weights.write_bytes(b"broken")
    assert "is not a loadable model" in refused(clip)


def in_cache(root: Path, folder: Path) -> None:
    """Lays a model into a hub's cache as the snapshot of `owner/name`."""
    repository = root / "models--owner--name"
    shutil.copytree(folder, repository / "snapshots" / "0123abcd")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd", "utf-8")


def test_a_snapshot_in_the_cache_needs_no_network(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    real = huggingface_hub.snapshot_download

    def offline(name: str, **options: Any) -> str:
        assert options.get("local_files_only"), "the network was asked although the snapshot is here"
        return real(name, cache_dir=tmp_path, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    in_cache(tmp_path, folders["clip"])
    encoder = load("hf:owner/name")
    assert encoder.name == "hf:owner/name"
    assert encoder.fingerprint == load(folders["clip"]).fingerprint


def test_without_network_the_message_says_how_to_get_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def unreachable(name: str, **options: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot find an appropriate cached snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    message = refused("owner/name")
    assert "'owner/name' is not in the hub's cache, and the download failed (cannot find" in message
    assert "hf download owner/name" in message


def test_texts_are_cut_where_roberta_has_no_more_positions(tmp_path: Path) -> None:
    # RoBERTa numbers positions from behind its padding, so it has two fewer than its configuration says
    folder, _, _ = made("vision-text-dual-encoder", tmp_path / "roberta", text="roberta")
    encoder = load(folder)
    assert np.isfinite(encoder.encode_texts(["a " * 100]).fine).all()
    assert encoder.cuts("a " * 15) and not encoder.cuts("a " * 14)
