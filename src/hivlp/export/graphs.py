"""A trained model as ONNX graphs, checked against torch before they are used.

Weights that a model folder keeps in float16 are kept so in the graphs too, behind a cast that the runtime
folds when it opens them: half the bytes, the same float32 arithmetic, so the graphs still equal torch. Graphs
in a model folder hold no weights at all: they say where in `model.safetensors` beside them each one lies, as
ONNX allows for external data. Graphs that are written elsewhere hold their weights themselves.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hivlp.config import TOKENIZER_FILE, WEIGHTS_FILE
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode.onnx import Int8Encoder, OnnxEncoder
from hivlp.encode.torch import TorchEncoder
from hivlp.errors import ModelError
from hivlp.files import write_atomically
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model
from hivlp.types import Embeddings

TOLERANCE = 1e-4
OPSET = 18
SMALL = 256  # bytes of a weight that a graph keeps, whatever lies beside it
PROBES = (
    "a dog runs through snow",
    "two red boats left of a lighthouse at sunset",
    "x",
    "a long sentence about a man in a blue shirt who rides a bicycle past a yellow house "
    "near the harbour at night",
)


class _ImageGraph(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.encode_pixels(pixels).values())


class _FeatureGraph(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.image_tower.pooled(self.model.normalise(pixels))


class _TextGraph(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.encode_tokens(tokens, mask).values())


def export(
    folder: Path, out: Path | None = None, *, int8: bool = False, pixels_BCHW: NDArray[np.uint8] | None = None
) -> dict[str, Any]:
    """Writes `image.onnx` and `text.onnx` of a model folder and checks them.

    Args:
        folder: a model folder with weights.
        out: where the graphs go; None puts them into the model folder, where `load` finds them.
        int8: also write `image.int8.onnx` and `text.int8.onnx` and measure what they lose.
        pixels_BCHW: pictures that show the ranges of activations; None draws scenes. Real photos are better.

    Returns:
        ``files``, ``bytes``, ``max_abs_diff`` (largest difference from torch over all levels), and with
        `int8` also ``int8`` with the mean cosine to the float32 embeddings.

    Raises:
        ModelError: the graphs differ from torch by more than 1e-4; nothing is left behind then.
    """
    model = open_model(folder)
    target = out or folder
    target.mkdir(parents=True, exist_ok=True)
    half = stored_in_half(folder)
    files = _both(model, folder, target, half)
    if target == folder:
        begins = _begins(folder / WEIGHTS_FILE)
        for path in files:
            _share_weights(path, begins)
    difference = compare(OnnxEncoder(folder, graphs=target), TorchEncoder(folder))
    if difference > TOLERANCE:
        for path in files:
            path.unlink()
        raise ModelError(
            f"the graphs of {folder} differ from torch by {difference:.1e}, more than {TOLERANCE:.0e}; "
            "they were removed. This model can be used with torch only"
        )
    result: dict[str, Any] = {"max_abs_diff": difference}
    if int8:
        from hivlp.export.quantise import quantise

        files += quantise(target, size=model.config.preprocessing.size, pixels_BCHW=pixels_BCHW)
        exact, coded = OnnxEncoder(folder, graphs=target), Int8Encoder(folder, graphs=target)
        result["int8"] = agreement(exact, coded)
    return {
        "files": [str(path) for path in files],
        "bytes": sum(path.stat().st_size for path in files),
        **result,
    }


def _both(model: DualEncoder, folder: Path, target: Path, half: bool) -> list[Path]:
    """Both graphs, or ModelError and none: torch has no way to write some operations."""
    files = [target / "image.onnx", target / "text.onnx"]
    try:
        return [_export_image(model, files[0], half), _export_text(model, folder, files[1], half)]
    except Exception as error:  # the exporter has many kinds, few public
        for path in files:
            path.unlink(missing_ok=True)
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{folder} can't be written as graphs ({reason}); this model can be used with torch only"
        ) from None


def probes(size: int) -> np.ndarray[Any, Any]:
    """A few pictures (4, 3, size, size): noise, a ramp, black and white."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (3, size, size), dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, size).astype(np.uint8), (3, size, size))
    return np.stack([noise, ramp, np.zeros_like(noise), np.full_like(noise, 255)])


def compare(first: Any, second: Any) -> float:
    """The largest absolute difference between two encoders, over texts, pictures, batch sizes and levels."""
    pixels_BCHW = probes(first.preprocessing.size)
    pairs = [(first.encode_texts(PROBES), second.encode_texts(PROBES))]
    pairs += [(first.encode_texts([text]), second.encode_texts([text])) for text in PROBES[:2]]
    pairs += [(first.encode_pixels(pixels_BCHW), second.encode_pixels(pixels_BCHW))]
    pairs += [(first.encode_pixels(pixels_BCHW[:1]), second.encode_pixels(pixels_BCHW[:1]))]
    return max(_difference(one, other) for one, other in pairs)


def _difference(one: Embeddings, other: Embeddings) -> float:
    return max(float(np.abs(one[width] - other[width]).max()) for width in one.widths)


def agreement(exact: Any, coded: Any) -> dict[str, float]:
    """Mean cosine at the fine level between two encoders, for pictures and for texts."""
    from hivlp.export.quantise import calibration_pixels

    pixels_BCHW = calibration_pixels(exact.preprocessing.size, count=64, seed=1)
    image = (exact.encode_pixels(pixels_BCHW).fine * coded.encode_pixels(pixels_BCHW).fine).sum(axis=1).mean()
    text = (exact.encode_texts(PROBES).fine * coded.encode_texts(PROBES).fine).sum(axis=1).mean()
    return {"image_cosine": round(float(image), 5), "text_cosine": round(float(text), 5)}


def _export_image(model: DualEncoder, path: Path, half: bool) -> Path:
    return _write_image(_ImageGraph(model), model, path, _levels(model), half=half)


def export_features(model: DualEncoder, path: Path) -> Path:
    """Writes a graph of the picture tower alone: ``pixels`` as of the whole graph, to pooled ``features``."""
    return _write_image(_FeatureGraph(model), model, path, ["features"], half=False)


def _write_image(graph: nn.Module, model: DualEncoder, path: Path, outputs: list[str], *, half: bool) -> Path:
    size = model.config.preprocessing.size
    pixels = torch.zeros((2, 3, size, size), dtype=torch.uint8)
    return _write(graph, (pixels,), path, outputs, inputs={"pixels": {0: "batch"}}, half=half)


def _levels(model: DualEncoder) -> list[str]:
    return [f"embedding_{width}" for width in model.config.levels.widths]


def _export_text(model: DualEncoder, folder: Path, path: Path, half: bool) -> Path:
    tokenizer = Tokenizer.open(folder / TOKENIZER_FILE, max_tokens=model.config.max_tokens)
    tokens, mask = (torch.from_numpy(array) for array in tokenizer.encode(["a dog", "a cat on a mat"]))
    axes = {0: "batch", 1: "length"}
    return _write(
        _TextGraph(model),
        (tokens, mask),
        path,
        _levels(model),
        inputs={"tokens": axes, "mask": axes},
        half=half,
    )


def _write(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    outputs: list[str],
    *,
    inputs: dict[str, Any],
    half: bool,
) -> Path:
    axes = {**inputs, **{name: {0: "batch"} for name in outputs}}
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            graph.eval(), example, str(path),
            input_names=list(inputs), output_names=outputs, dynamic_axes=axes,
            opset_version=OPSET, dynamo=False,
            # keeps batch norm apart from convolutions: folded weights could not be stored in float16 exactly
            training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
    written = onnx.load(str(path))
    if half:
        written = with_half_weights(written)
    onnx.save(with_short_names(written), str(path))
    return path


def with_short_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with numbers for names of steps and of what passes between: torch names them by paths.

    Of a small model they were 3 % of the file. Inputs, outputs and weights keep their names.
    """
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    fixed |= {tensor.name for tensor in graph.initializer}
    numbered: dict[str, str] = {"": ""}
    for place, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{place}"
        for part, output in enumerate(node.output):
            numbered.setdefault(output, output if output in fixed else f"{place}_{part}")
        for names in (node.input, node.output):
            names[:] = [numbered.get(name, name) for name in names]
    del graph.value_info[:]
    return model


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its float32 weights kept as float16, each behind a cast back to float32."""
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims, dtype=int) < 64:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        if not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            continue  # computed at export, such as a folded constant: halving it would change results
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name=f"{name}.half"))
        casts.append(
            helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT)
        )
    _begin_with(casts, graph)
    return model


def _begin_with(nodes: list[onnx.NodeProto], graph: onnx.GraphProto) -> None:
    """Puts nodes before all others of a graph."""
    every = [*nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(every)


def _share_weights(path: Path, begins: Mapping[bytes, int]) -> None:
    """Leaves out of a graph what the weights beside it hold, byte for byte, and says where it lies there.

    What torch has turned round lies there as it was, and the graph turns it, once, when it is opened.

    Args:
        begins: as `_begins` gives it.
    """
    turns = list[onnx.NodeProto]()
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        start = begins.get(_digest(array.tobytes()))
        if start is None and array.ndim == 2:
            start = begins.get(_digest(array.T.tobytes()))
            if start is not None:
                turns.append(helper.make_node("Transpose", [f"{tensor.name}.turned"], [tensor.name]))
                tensor.name, tensor.dims[:] = f"{tensor.name}.turned", array.T.shape
        if start is None:
            continue
        for field in ("raw_data", "float_data", "int32_data"):
            tensor.ClearField(field)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS_FILE), ("offset", start), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
    _begin_with(turns, model.graph)
    write_atomically(path, model.SerializeToString())


def _begins(weights: Path) -> dict[bytes, int]:
    """Where each tensor of a file of weights begins, by the digest of its bytes; without very small ones."""
    whole = weights.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header: dict[str, Any] = json.loads(whole[8 : 8 + length])
    header.pop("__metadata__", None)
    places = [[8 + length + offset for offset in entry["data_offsets"]] for entry in header.values()]
    return {_digest(whole[start:end]): start for start, end in places if end - start >= SMALL}


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def stored_in_half(folder: Path) -> bool:
    """Whether a model folder keeps its weights in float16."""
    from safetensors import safe_open

    with safe_open(str(folder / WEIGHTS_FILE), framework="pt") as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own ageing and of shapes fixed on purpose; the check afterwards decides."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.getLogger("torch.onnx").setLevel(level)
