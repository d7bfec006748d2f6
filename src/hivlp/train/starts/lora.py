"""Low-rank adapters (arXiv 2106.09685, by peft) in both towers, merged into their weights at the end.

Only a small part of the weights is trained, which stays close to the start and needs little memory for the
optimiser; the result is an ordinary model.
"""

from __future__ import annotations

import warnings

from torch import nn

from hivlp.config import Lora
from hivlp.errors import ConfigError, MissingExtraError
from hivlp.model.dual import DualEncoder

ALPHA = 16  # updates are scaled by ALPHA / rank


def adapt(model: DualEncoder, settings: Lora) -> None:
    """Freezes both towers and adds adapters to their linear layers, in place; nothing with rank 0.

    Raises:
        ConfigError: the towers have no linear layer.
        MissingExtraError: peft is not installed.
    """
    if not settings.rank:
        return
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError("peft", "train", "lora.rank") from None
    adapted = 0
    for tower in (model.image_tower, model.text_tower):
        tower.requires_grad_(False)
        names = _linear(tower)
        adapted += len(names)
        if names:
            config = LoraConfig(
                r=settings.rank,
                lora_alpha=ALPHA,
                target_modules=names,
            )
            inject_adapter_in_model(config, tower)
    if not adapted:
        raise ConfigError("lora.rank adapts linear layers, and the towers have none; set lora.rank=0")


def merge(model: DualEncoder) -> None:
    """Merges the adapters into the weights, in place."""
    for tower in (model.image_tower, model.text_tower):
        for name, module in list(tower.named_modules()):
            if hasattr(module, "lora_A") and hasattr(module, "get_base_layer"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    module.merge()  # pyright: ignore[reportCallIssue]
                tower.set_submodule(name, module.get_base_layer())  # pyright: ignore[reportCallIssue]


def _linear(tower: nn.Module) -> list[str]:
    """The names of a tower's linear layers, without those in torch's attention, which are never called."""
    whole = [name for name, part in tower.named_modules() if isinstance(part, nn.MultiheadAttention)]
    return [
        name
        for name, part in tower.named_modules()
        if isinstance(part, nn.Linear) and not any(name.startswith(f"{one}.") for one in whole)
    ]
