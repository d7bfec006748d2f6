"""Heads taken into the last layer of a HiVLP model: the same numbers, and an ordinary model folder again.

A level is ``unit(W x + b)`` of a tower's features x, and a head makes ``unit(M' unit(W x + b))`` of it.
Scaling does not change a unit vector, so that is ``unit((M' W) x + M' b)``: one linear layer again. An MLP
without biases, which scales with its input too, is likewise one that reads x.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hivlp.config import TOKENIZER_FILE, Levels, read_model_config
from hivlp.encode.heads import Head, Mlp
from hivlp.errors import ModelError
from hivlp.export.graphs import export, stored_in_half
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model, save
from hivlp.model.levels import LevelHead, heads_of
from hivlp.types import FloatArray


def fold(base: Path, heads: Mapping[int, Head], folder: Path) -> None:
    """Writes a HiVLP model whose levels are what the heads make of those of `base`, with its graphs.

    Weights are stored as those of `base` are. Raises ModelError as `folded`.
    """
    new = folded(open_model(base), heads)
    folder.mkdir(parents=True)
    shutil.copyfile(base / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    save(new, folder, half=stored_in_half(base))
    export(folder)


def folded(old: DualEncoder, heads: Mapping[int, Head]) -> DualEncoder:
    """The model with what the heads make of its levels, of the kind ``separate``.

    Raises:
        ModelError: the levels of the model are not a single linear layer, so nothing can be folded in.
    """
    if not _are_linear(old.config.levels):
        raise ModelError(
            f"the levels of {old.config.name} are more than one linear layer already, and heads on top of "
            "them can't become one layer with them; make the levels from the model that it was made of"
        )
    mlps = [mlp for head in heads.values() for mlp in (head.image_mlp, head.text_mlp) if mlp is not None]
    hidden = max((mlp.first_SH.shape[1] for mlp in mlps), default=0)
    levels = Levels(kind="separate", widths=tuple(sorted(heads)), hidden=hidden)
    new = DualEncoder(old.config.model_copy(update={"levels": levels})).eval()
    made_anew = ("image_levels.", "text_levels.", "log_scale_L")
    state = {name: value for name, value in old.state_dict().items() if not name.startswith(made_anew)}
    new.load_state_dict(state, strict=False)
    with torch.no_grad():
        for number, width in enumerate(levels.widths):
            head = heads[width]
            for made, source, map_SD, mlp in (
                (new.image_levels.heads[number], old.image_levels, head.image_SD, head.image_mlp),
                (new.text_levels.heads[number], old.text_levels, head.text_SD, head.text_mlp),
            ):
                _take_in(made, layer_behind(source, head.source), map_SD, mlp)
        new.log_scale_L.fill_(float(old.log_scale_L[-1]))
    return new


def can_fold(base: Path) -> bool:
    """Whether the levels of a HiVLP model are linear, so that heads can be taken into them."""
    return _are_linear(read_model_config(base).levels)


def _are_linear(levels: Levels) -> bool:
    return not levels.hidden


def _take_in(made: LevelHead, behind: tuple[Tensor, Tensor], map_SD: FloatArray, mlp: Mlp | None) -> None:
    weight_SF, bias_S = behind
    for layer, columns_SD in ((made, map_SD), (made.first, mlp.first_SH if mlp else None)):
        if layer is not None and columns_SD is not None:
            rows_DS = torch.from_numpy(columns_SD.T.copy())
            layer.weight[: len(rows_DS)] = rows_DS @ weight_SF
            layer.bias[: len(rows_DS)] = rows_DS @ bias_S
    if made.second is not None and mlp is not None:  # else it is 0, and adds nothing
        made.second.weight[:, : len(mlp.second_HD)] = torch.from_numpy(mlp.second_HD.T.copy())


def layer_behind(levels: nn.Module, width: int) -> tuple[Tensor, Tensor]:
    """Weight and bias behind one level: of a nested model the first rows, of another its own head."""
    found = heads_of(levels)
    head = next((one for one in found if one.out_features == width), found[-1])
    return head.weight[:width], head.bias[:width]
