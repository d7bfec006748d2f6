"""The model folder: config.json and model.safetensors here, tokenizer.json by the tokenizer; never pickle.

The configuration is written last: a folder that has one is complete.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hivlp.config import CONFIG_FILE, WEIGHTS_FILE, read_model_config
from hivlp.errors import ModelError
from hivlp.files import replacing, write_atomically
from hivlp.model.dual import DualEncoder


def save(model: DualEncoder, folder: Path, *, half: bool = False) -> None:
    """Writes the weights and the configuration of a model folder.

    Args:
        half: store the weights in float16. They are rounded in `model` too, so that it stays equal to
            the saved one; computations stay in float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if half:
        round_to_half(model)
    dtype = torch.float16 if half else torch.float32
    state = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in _saved_state(model).items()
    }
    with replacing(folder / WEIGHTS_FILE) as draft:
        save_file(state, draft, metadata={"format": "pt"})
        draft.chmod(0o644)  # safetensors makes files that only their owner may read
    text = json.dumps(model.config.model_dump(), indent=2) + "\n"
    write_atomically(folder / CONFIG_FILE, text.encode())


def open_model(folder: Path) -> DualEncoder:
    """The model of a folder in float32, ready for inference.

    Raises:
        ModelError: a file is missing, damaged, or does not fit the configuration.
    """
    config = read_model_config(folder)
    model = DualEncoder(config)
    try:
        stored = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{folder / WEIGHTS_FILE} cannot be read ({error}); copy the model folder again"
        ) from None
    state = {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in _saved_state(model).items()}
    wrong = sorted(
        {name for name, shape in wanted.items() if name not in state or tuple(state[name].shape) != shape}
    )
    wrong += sorted(set(state) - set(wanted))
    if wrong:
        raise ModelError(
            f"{folder / WEIGHTS_FILE} does not fit {CONFIG_FILE}: {len(wrong)} tensors are missing, unknown "
            f"or of another shape (such as {wrong[0]}); the two files belong to different models"
        )
    model.load_state_dict(state, strict=False)  # the counters of batch norm are left out
    return model.eval()


def round_to_half(model: DualEncoder) -> None:
    """Rounds every weight to the nearest float16, in place."""
    with torch.no_grad():
        for tensor in _saved_state(model).values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())


def _saved_state(model: DualEncoder) -> dict[str, torch.Tensor]:
    """The state without the counters of batch norm, which inference does not need."""
    return {name: t for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}
