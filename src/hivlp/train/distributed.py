"""Several processes that train one model: what they share, and how a loss sees the rows of all of them.

Each process takes its rows of every batch through the towers; the features are gathered, with their gradient,
and every process computes the loss of the whole batch. The gradient of a weight is the mean over the
processes, so that one process and several end at the same numbers. With one nothing here does anything.

In groups (M2-Encoder, arXiv 2401.15896) features are gathered only among neighbours: the loss is then the
mean over the groups, and its memory does not grow with the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hivlp.errors import ConfigError

# Packing a large source may take hours, and the others wait; one that dies takes the others down anyway.
PATIENCE = timedelta(hours=12)
CPU = torch.device("cpu")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run.

    Attributes:
        rank: the number of this one; 0 leads, and only it writes.
        size: how many there are.
        device: where this one computes.
        group: the processes that gather from each other; None: all.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    group: Any = None

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def gather(self, rows_BF: Tensor) -> Tensor:
        """The rows of all processes of the group, by rank, with their gradient; counts may differ."""
        return rows_BF if self.size == 1 else _Gather.apply(rows_BF, self.group)  # type: ignore[return-value]

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, without gradient."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def from_leader(self, value: float) -> float:
        """A number that the process which leads knows; every process has to ask."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(told, src=0)
        return float(told)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Makes every gradient the mean over all processes; those that nobody has stay absent."""
        if self.size == 1:
            return
        known = list(parameters)
        has = torch.tensor([p.grad is not None for p in known], dtype=torch.uint8, device=self.device)
        dist.all_reduce(has, op=dist.ReduceOp.MAX)
        taught = [p for p, any_has in zip(known, has.tolist(), strict=True) if any_has]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in taught])
        dist.all_reduce(flat)
        flat /= self.size
        for parameter, piece in zip(taught, flat.split([p.numel() for p in taught]), strict=True):
            parameter.grad = piece.view_as(parameter)

    def leader_first(self, make: Callable[[], T]) -> T:
        """What `make` gives; the leader makes it, and the others find it made."""
        if self.size == 1:
            return make()
        made = make() if self.leads else None
        dist.barrier()
        return make() if made is None else made

    def check_same(self, value: int, what: str) -> None:
        """Raises ConfigError where the processes do not agree on a number."""
        if self.size == 1:
            return
        values = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.size)]
        dist.all_gather(values, torch.tensor([value], device=self.device))
        known = [int(one) for one in values]
        if len(set(known)) > 1:
            raise ConfigError(
                f"the processes do not agree on {what}: {', '.join(map(str, known))}; --out must be one "
                "folder that all machines see"
            )

    def check_batch(self, batch_size: int) -> None:
        """Raises ConfigError if the batch is not a multiple of the number of processes."""
        if batch_size % self.size:
            less = batch_size // self.size * self.size
            near = f"{less} or {less + self.size}" if less else str(self.size)
            raise ConfigError(
                f"batch_size={batch_size} is invalid: must be a multiple of the {self.size} processes; "
                f"set it to {near}"
            )


class _Gather(torch.autograd.Function):
    """Rows of all processes forward; backward every process gets the sum of what all want of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: Any) -> Tensor:  # type: ignore[override]
        size = dist.get_world_size(group)
        counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(size)]
        dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device), group=group)
        ctx.counts, ctx.group = [int(count) for count in counts], group
        longest = max(ctx.counts)
        padded = torch.cat([rows, rows.new_zeros((longest - len(rows), *rows.shape[1:]))]).contiguous()
        pieces = [torch.empty_like(padded) for _ in range(size)]
        dist.all_gather(pieces, padded, group=group)
        return torch.cat([piece[:count] for piece, count in zip(pieces, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        total = grad.contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total.split(ctx.counts)[dist.get_rank(ctx.group)], None


def is_leader() -> bool:
    """Whether this process is the one that writes and answers; true outside of torchrun."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined(device: str, *, gather_group: int = 0) -> Iterator[World]:
    """The world that torchrun started this process in, left at the end; one process where there is none.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``; of several GPUs a process takes the one of its local rank.
        gather_group: how many neighbouring processes gather from each other; 0: all.

    Raises:
        ConfigError: a GPU is asked for and there is none, or the groups do not divide the processes.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    place = choose_device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if gather_group and size % gather_group:
        raise ConfigError(
            f"gather_group={gather_group} does not divide the {size} processes; take a divisor, or 0 for all"
        )
    if size == 1:
        yield World(device=place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(rank, size, place, neighbours(rank, size, gather_group))
    finally:
        dist.destroy_process_group()


def neighbours(rank: int, size: int, count: int) -> Any:
    """The group of `count` processes that this one gathers from; None for all. Every process has to ask."""
    if not count or count == size:
        return None
    groups = [dist.new_group(list(range(first, first + count))) for first in range(0, size, count)]
    return groups[rank // count]


def choose_device(wanted: str, *, local_rank: int = 0) -> torch.device:
    """The device of a process; ``auto`` takes a GPU where there is one.

    Raises:
        ConfigError: a GPU is asked for and there is none, or fewer than there are processes here.
    """
    count = torch.cuda.device_count()
    if wanted == "cuda" and not count:
        raise ConfigError("device=cuda, and torch sees no GPU; use device=auto or device=cpu")
    if wanted == "cpu" or not count:
        return torch.device("cpu")
    if local_rank >= count:
        raise ConfigError(
            f"process {local_rank} of this machine finds {count} GPUs; start at most that many with "
            "--nproc-per-node, or set device=cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
