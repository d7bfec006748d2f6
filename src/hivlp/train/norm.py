"""Batch norm whose statistics are those of the batches of all processes, on any device.

torch has one for GPUs only. The mean is taken first and the variance around it, as one process does.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SharedBatchNorm2d(nn.BatchNorm2d):
    """As BatchNorm2d, over the images of all processes; in evaluation it is BatchNorm2d itself."""

    def forward(self, rows_BCHW: Tensor) -> Tensor:  # type: ignore[override]
        if not self.training:
            return super().forward(rows_BCHW)
        rows = rows_BCHW.float()
        count = rows.numel() // rows.shape[1] * dist.get_world_size()
        mean_C = _Sum.apply(rows.sum(dim=(0, 2, 3))) / count  # type: ignore[operator]
        centred = rows - mean_C[:, None, None]
        variance_C = _Sum.apply(centred.square().sum(dim=(0, 2, 3))) / count  # type: ignore[operator]
        self._count(mean_C, variance_C * count / max(count - 1, 1))
        scale_C = torch.rsqrt(variance_C + self.eps) * self.weight
        return torch.addcmul(self.bias[:, None, None], centred, scale_C[:, None, None]).to(rows_BCHW.dtype)

    @torch.no_grad()
    def _count(self, mean_C: Tensor, variance_C: Tensor) -> None:
        """Into the running statistics."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C, self.momentum)


class _Sum(torch.autograd.Function):
    """The sum over all processes; the gradient is summed too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # type: ignore[override]
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


def share_batch_norms(module: nn.Module) -> None:
    """Every BatchNorm2d of a module becomes a shared one, in place, with the same weights and names."""
    for part in module.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SharedBatchNorm2d  # it has no state of its own
