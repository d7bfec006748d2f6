"""Encoders: ONNX equals torch, streams keep order and lose nothing, bad pictures are lines in a report."""

import io
import os
import shutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from hivlp import Index, scenes
from hivlp.encode import encode_stream, fastest, load
from hivlp.encode.base import Encoder, fingerprint
from hivlp.encode.onnx import Int8Encoder, OnnxEncoder
from hivlp.encode.openvino import OpenVinoEncoder
from hivlp.encode.torch import TorchEncoder
from hivlp.errors import MissingExtraError, ModelError
from hivlp.export import quantise
from hivlp.export.graphs import OPSET, TOLERANCE, compare, export, with_short_names
from hivlp.types import Sample
from micro import micro_folder, micro_model, with_bag

TEXTS = ["a red boat on the sea", "two dogs in the snow", "", "狗", "🐶", "x " * 500]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = micro_folder(tmp_path_factory.mktemp("model") / "m", half=True)
    with pytest.raises(ModelError, match=r"has no 8-bit graphs in .*; make them with `hivlp export"):
        load(folder, runtime="onnx-int8")
    result = export(folder, int8=True)
    assert result["max_abs_diff"] <= TOLERANCE
    assert len(result["files"]) == 4
    assert result["int8"]["image_cosine"] > 0.9
    assert result["int8"]["text_cosine"] > 0.9
    return folder


def test_graphs_of_a_model_with_a_bag_equal_torch(tmp_path):
    result = export(micro_folder(tmp_path, **with_bag(hidden=4)), int8=True)
    assert result["max_abs_diff"] <= TOLERANCE
    assert min(result["int8"].values()) > 0.9


def test_steps_of_a_graph_have_short_names_and_compute_the_same():
    model, _ = micro_model()
    path_to = {"input_names": ["pixels"], "output_names": ["features"], "opset_version": OPSET}
    pixels_BCHW = torch.rand(2, 3, 32, 32)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's age, and of shapes that are fixed here
        torch.onnx.export(model.image_tower.eval(), (pixels_BCHW,), buffer, dynamo=False, **path_to)
    long = onnx.load_from_string(buffer.getvalue())
    short = with_short_names(onnx.load_from_string(buffer.getvalue()))
    onnx.checker.check_model(short)
    assert [node.op_type for node in short.graph.node] == [node.op_type for node in long.graph.node]
    assert max(len(name) for node in short.graph.node for name in (node.name, *node.output)) < 30
    assert len({node.name for node in short.graph.node}) == len(short.graph.node)
    assert short.ByteSize() < long.ByteSize()
    answers = [
        onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"pixels": pixels_BCHW.numpy()})[0]
        for graph in (long, short)
    ]
    assert np.array_equal(*answers)


def test_an_index_of_8_bit_graphs_is_opened_with_them(exported, tmp_path):
    encoder = load(exported, runtime="onnx-int8")
    with Index.create(tmp_path / "x.hivlp", encoder) as index:
        index.add_texts(TEXTS[:2])
    for model in (None, exported):
        with Index.open(tmp_path / "x.hivlp", model=model) as index:
            assert isinstance(index.encoder, Int8Encoder)
            assert index.search(TEXTS[1], kind="text").hits[0].score == pytest.approx(1, abs=1e-3)


def test_layers_become_integers_from_the_output_on_while_embeddings_stay(exported, tmp_path, monkeypatch):
    pixels_BCHW = quantise.calibration_pixels(32, count=8)

    def rounded(least: float) -> tuple[int, float]:
        """How many weights are in integers, and the mean cosine to float32."""
        monkeypatch.setattr(quantise, "LEAST_COSINE", least)
        shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
        image, _ = quantise.quantise(tmp_path, size=32, pixels_BCHW=pixels_BCHW)
        numbers = sum(
            tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
            for tensor in onnx.load(str(image)).graph.initializer
        )
        exact, coded = OnnxEncoder(exported), Int8Encoder(exported, graphs=tmp_path)
        each_B = (exact.encode_pixels(pixels_BCHW).fine * coded.encode_pixels(pixels_BCHW).fine).sum(axis=1)
        return numbers, float(each_B.mean())

    (every, worst), (one, _) = rounded(0.0), rounded(2.0)
    assert one == 1
    some, cosine = rounded((1 + worst) / 2)
    assert one <= some < every
    assert worst < (1 + worst) / 2 <= cosine + 1e-6


def test_onnx_equals_torch_at_every_level(exported):
    onnx, torch = OnnxEncoder(exported), TorchEncoder(exported)
    assert compare(onnx, torch) <= TOLERANCE
    for width in onnx.widths:
        np.testing.assert_allclose(
            onnx.encode_texts(TEXTS)[width], torch.encode_texts(TEXTS)[width], atol=TOLERANCE
        )
    assert isinstance(onnx, Encoder)
    assert isinstance(torch, Encoder)


@pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")
def test_openvino_equals_onnx_runtime_at_every_level(exported):
    onnx, openvino = load(exported, runtime="onnx"), load(exported, runtime="openvino", threads=1)
    assert isinstance(openvino, OpenVinoEncoder) and isinstance(openvino, Encoder)
    assert openvino.fingerprint == onnx.fingerprint
    pictures = [scenes.render(scenes.describe(seed), size=48) for seed in range(70)]  # more than a batch
    for width in onnx.widths:
        for one, two in (
            (onnx.encode_texts(TEXTS), openvino.encode_texts(TEXTS)),
            (onnx.encode_images(pictures), openvino.encode_images(pictures)),
        ):
            np.testing.assert_allclose(one[width], two[width], atol=TOLERANCE)
    assert openvino.encode_texts([]).fine.shape == (0, 32)


def test_the_runtime_that_is_measured_faster_is_taken(exported, monkeypatch):
    monkeypatch.setattr(fastest, "find_spec", lambda name: name)
    monkeypatch.setattr(fastest, "OpenVinoEncoder", OtherRuntime)
    for slow, kind in ((OtherRuntime, OnnxEncoder), (OnnxEncoder, OtherRuntime)):
        monkeypatch.setattr(fastest, "seconds", lambda encoder, slow=slow: float(type(encoder) is slow))
        assert type(load(exported, runtime="fastest")) is kind
    monkeypatch.setattr(fastest, "find_spec", lambda name: None)
    monkeypatch.setattr(fastest, "seconds", None)  # there is nothing to be measured
    assert type(load(exported, runtime="fastest")) is OnnxEncoder


class OtherRuntime(OnnxEncoder):
    pass


def test_openvino_is_an_extra(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"hivlp\[openvino\]"):
        load(exported, runtime="openvino")


def test_half_weights_make_the_graphs_smaller(exported, tmp_path):
    export(exported, tmp_path / "half")
    export(micro_folder(tmp_path / "m"), tmp_path / "full")
    for name in ("image.onnx", "text.onnx"):
        half, full = ((tmp_path / kind / name).stat().st_size for kind in ("half", "full"))
        assert half < 0.8 * full


def test_a_weight_lies_once_in_a_folder_and_graphs_elsewhere_hold_their_own(exported, tmp_path):
    alone = tmp_path / "alone"
    export(exported, alone)
    pixels_BCHW = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    outside = 0
    for name in ("image.onnx", "text.onnx"):
        shared = onnx.load(str(exported / name), load_external_data=False)
        for tensor in shared.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                told = {entry.key: entry.value for entry in tensor.external_data}
                assert told["location"] == "model.safetensors" and not tensor.raw_data
                outside += int(told["length"])
        assert not any(
            tensor.data_location == onnx.TensorProto.EXTERNAL
            for tensor in onnx.load(str(alone / name), load_external_data=False).graph.initializer
        )
        assert (exported / name).stat().st_size < 0.8 * (alone / name).stat().st_size
        turned = [node for node in shared.graph.node if node.input and node.input[0].endswith(".turned")]
        assert len(turned) > 0 or name == "image.onnx"  # of layers over sequences torch turns weights round
    assert outside > 0.7 * (exported / "model.safetensors").stat().st_size
    here, there = OnnxEncoder(exported), OnnxEncoder(exported, graphs=alone)
    assert np.array_equal(here.encode_pixels(pixels_BCHW).fine, there.encode_pixels(pixels_BCHW).fine)
    assert np.array_equal(here.encode_texts(TEXTS).fine, there.encode_texts(TEXTS).fine)


def test_load_takes_onnx_where_there_are_graphs(exported, tmp_path):
    assert isinstance(load(exported), OnnxEncoder)
    assert isinstance(load(micro_folder(tmp_path / "m")), TorchEncoder)
    assert isinstance(load(exported, runtime="torch"), TorchEncoder)


def test_embeddings_are_unit_float32_and_batches_do_not_matter(exported):
    encoder = load(exported)
    pictures = [scenes.render(scenes.describe(seed), size=64) for seed in range(5)]
    together = encoder.encode_images(pictures)
    assert together.widths == encoder.widths
    for width in encoder.widths:
        assert together[width].dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(together[width], axis=1), 1, atol=1e-5)
    for row, picture in enumerate(pictures):
        np.testing.assert_allclose(encoder.encode_images([picture]).fine[0], together.fine[row], atol=1e-5)
    with pytest.raises(KeyError, match="no level of width 7"):
        together[7]


def test_nothing_to_encode_gives_no_rows(exported):
    encoder = load(exported)
    assert encoder.encode_texts([]).fine.shape == (0, 32)
    assert encoder.encode_images([]).coarse.shape == (0, 8)


def test_fingerprints_tell_models_apart(exported, tmp_path):
    other = micro_folder(tmp_path / "m", levels={"kind": "nested", "widths": [4, 32]})
    assert fingerprint(exported) == fingerprint(exported) != fingerprint(other)


def test_unknown_models_and_damaged_graphs_are_explained(exported, tmp_path):
    with pytest.raises(ModelError, match="unknown model 'minni'"):
        load("minni")
    with pytest.raises(ModelError, match=r"is not a model folder: it has no config\.json"):
        load(tmp_path)
    folder = micro_folder(tmp_path / "m")
    with pytest.raises(ModelError, match=r"has no ONNX graphs in .*; make them with `hivlp export .*/m`"):
        OnnxEncoder(folder)
    for name in ("image.onnx", "text.onnx"):
        (folder / name).write_bytes(b"no graph")
    with pytest.raises(
        ModelError, match=r"image.onnx is not a usable graph .* write it again with `hivlp export`"
    ):
        load(folder)


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    scenes.render(scenes.describe(seed), size=64).save(buffer, "JPEG")
    return buffer.getvalue()


def test_streams_keep_order_and_list_what_failed(exported, tmp_path):
    encoder = load(exported)
    samples = [Sample(id=str(i), uri=f"{i}.jpg", image=jpeg(i)) for i in range(11)]
    samples[3] = Sample(id="3", uri="3.jpg", image=b"not a picture")
    samples[7] = Sample(id="7", uri="7.jpg", image=tmp_path / "missing.jpg")
    batches = list(encode_stream(encoder, samples, batch_size=4, workers=3))
    good = [sample for batch in batches for sample in batch.samples]
    assert [sample.id for sample in good] == [str(i) for i in range(11) if i not in (3, 7)]
    assert [failure.uri for batch in batches for failure in batch.failures] == ["3.jpg", "7.jpg"]
    rows = np.concatenate([batch.embeddings.fine for batch in batches])
    alone = encoder.encode_images([sample.read() for sample in good]).fine
    np.testing.assert_allclose(rows, alone, atol=1e-5)
    assert all(size == (64, 64) for batch in batches for size in batch.sizes)
    assert len({digest for batch in batches for digest in batch.sha256}) == 9


def test_a_stream_of_bad_pictures_only_still_ends(exported):
    samples = [Sample(id=str(i), uri=f"{i}.jpg", image=b"") for i in range(3)]
    batches = list(encode_stream(load(exported), samples, batch_size=2))
    assert sum(len(batch.failures) for batch in batches) == 3
    assert all(len(batch.embeddings) == 0 for batch in batches)


def test_a_pil_picture_equals_its_png(exported):
    encoder, picture = load(exported), scenes.render(scenes.describe(1), size=64)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    assert isinstance(picture, Image.Image)
    np.testing.assert_array_equal(
        encoder.encode_images([picture]).fine, encoder.encode_images([buffer.getvalue()]).fine
    )


@pytest.mark.parametrize("count", [0, 1, 5, 130])
def test_threads_that_share_a_batch_give_what_one_gives(exported: Path, count: int):
    size = OnnxEncoder(exported).preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    shared, alone = (OnnxEncoder(exported, threads=threads).encode_pixels(pixels) for threads in (3, 1))
    assert shared.widths == alone.widths and len(shared) == len(alone) == count
    for width in alone.widths:
        np.testing.assert_allclose(shared[width], alone[width], atol=1e-5)


def test_nothing_is_told_to_the_maker_of_the_runtime(tmp_path):
    """Where it may, ONNX Runtime keeps a device id and what it will send next in the home folder."""
    silent = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in silent}
    code = "import hivlp; hivlp.load('mini').encode_texts(['a dog'])"
    subprocess.run([sys.executable, "-c", code], env={**environment, "HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
