"""What two processes find, one file each; run by tests/train/test_distributed.py through torchrun."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from distributed_task import gradients_of
from hivlp.errors import ConfigError
from hivlp.train.distributed import World, joined, neighbours
from hivlp.train.norm import share_batch_norms


def gathered(world: World) -> dict[str, torch.Tensor]:
    """Rank r has r + 1 rows of value r; the loss weighs every row by its place."""
    rows = torch.full((world.rank + 1, 2), float(world.rank), requires_grad=True)
    everything = world.gather(rows)
    places = torch.arange(1.0, len(everything) + 1)
    (everything.sum(dim=1) * places).sum().backward()
    assert rows.grad is not None
    return {"gathered": everything.detach(), "gathered.grad": rows.grad}


def normalised(world: World) -> dict[str, torch.Tensor]:
    """Every second row of a batch through a shared batch norm."""
    torch.manual_seed(0)
    norm, rows = nn.Sequential(nn.BatchNorm2d(3)), torch.randn(6, 3, 4, 4)
    share_batch_norms(norm)
    own = rows[world.rank :: world.size].clone().requires_grad_()
    out = norm(own)
    (out.square() * torch.arange(3.0)[:, None, None] + out**3).mean().backward()
    assert own.grad is not None
    world.average_gradients(norm.parameters())
    state = {f"norm.{name}": value.clone() for name, value in norm.state_dict().items()}
    grads = {f"norm.{name}.grad": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    return {"norm": out.detach(), "norm.input": own.grad / world.size, **state, **grads}


def disagreement(world: World) -> str:
    try:
        world.check_same(world.rank, "a number")
    except ConfigError as error:
        return str(error)
    return ""


def main(out: Path) -> None:
    with joined("cpu") as world:
        absent = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
        if world.rank == 0:
            absent[0].grad = torch.ones(2)
        world.average_gradients(absent)
        assert absent[0].grad is not None and absent[1].grad is None
        results = {
            "absent": absent[0].grad,
            "told": torch.tensor(world.from_leader(3.25 - world.rank)),
            "mean": world.mean(torch.tensor([float(world.rank)])),
            **gathered(world),
            **normalised(world),
            **gradients_of(world),
            **gradients_of(world, grad_cache=8),
        }
        told = {"told": disagreement(world)}
        save_file(
            {name: t.contiguous() for name, t in results.items()}, out / f"{world.rank}.safetensors", told
        )
        alone = replace(world, group=neighbours(world.rank, world.size, 1))
        assert alone.gather(torch.ones(1, 1)).shape == (1, 1), "a group of one"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
