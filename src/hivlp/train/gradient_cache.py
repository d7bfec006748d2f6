"""GradCache: a large batch through a tower in chunks, with the memory of one and the gradient of all.

GradCache (arXiv 2101.06983, section 3.3) runs the encoder without keeping activations, takes the loss of all
rows, and runs each chunk again, with the same random numbers, to carry the rows' gradient into the weights.
Checkpointing every chunk does just that, inside autograd. It knows neither model nor loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def in_chunks(
    encode: Callable[..., Tensor], chunks: Iterable[tuple[Tensor, ...]], *, module: nn.Module, cache: bool
) -> Tensor:
    """The rows of `encode(*chunk)` of all chunks, one after the other; there must be at least one chunk.

    Args:
        module: whose weights `encode` uses.
        cache: keep no activations, and compute each chunk again when its gradient is due. Values and
            gradients are the same, dropout included. Without a gradient to come it changes nothing.
    """
    if not cache:
        return torch.cat([encode(*chunk) for chunk in chunks])

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), still_statistics(module)

    return torch.cat(
        [checkpoint(encode, *chunk, use_reentrant=False, context_fn=contexts) for chunk in chunks]
    )


@contextmanager
def still_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms normalise as in training and leave their running statistics alone.

    A chunk that is computed again must not be counted again.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counters = [
        None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms
    ]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, counter in zip(norms, momenta, counters, strict=True):
            norm.momentum = momentum
            if counter is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(counter)
