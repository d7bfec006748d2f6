"""Heads taken into the last layer of a HiVLP model: the same numbers, and an ordinary model folder again.

A level is ``unit(W x + b)`` of a tower's features x, and a head makes ``unit(M' unit(W x + b))`` of it.
Scaling does not change a unit vector, so that is ``unit((M' W) x + M' b)``: one linear layer again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hivlp.config import TOKENIZER_FILE, Levels
from hivlp.encode.export import export, stored_in_half
from hivlp.encode.heads import Head
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model, save


def fold(base: Path, heads: Mapping[int, Head], folder: Path) -> None:
    """Writes a HiVLP model whose levels are what the heads make of those of `base`, with its graphs.

    Its levels are of the kind ``separate``. Weights are stored as those of `base` are.
    """
    old = open_model(base)
    widths = tuple(sorted(heads))
    config = old.config.model_copy(update={"levels": Levels(kind="separate", widths=widths)})
    new = DualEncoder(config).eval()
    kept = {name: value for name, value in old.state_dict().items() if "_tower." in name}
    new.load_state_dict(kept, strict=False)
    with torch.no_grad():
        for number, width in enumerate(widths):
            head = heads[width]
            for levels, source, map_SD in (
                (new.image_levels, old.image_levels, head.image_SD),
                (new.text_levels, old.text_levels, head.text_SD),
            ):
                weight_SF, bias_S = layer_behind(source, head.source)
                map_DS = torch.from_numpy(map_SD.T.copy())
                levels.heads[number].weight.copy_(map_DS @ weight_SF)
                levels.heads[number].bias.copy_(map_DS @ bias_S)
        new.log_scale_L.fill_(float(old.log_scale_L[-1]))
    folder.mkdir(parents=True)
    shutil.copyfile(base / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    save(new, folder, half=stored_in_half(base))
    export(folder)


def layer_behind(levels: nn.Module, width: int) -> tuple[Tensor, Tensor]:
    """Weight and bias behind one level: of a nested model the first rows, of another its own head."""
    found = [module for module in levels.modules() if isinstance(module, nn.Linear)]
    head = next((one for one in found if one.out_features == width), found[-1])
    return head.weight[:width], head.bias[:width]
