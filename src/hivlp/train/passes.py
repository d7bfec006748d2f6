"""A batch through the towers: in chunks, in the precision of the run; it knows no loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hivlp.model.dual import DualEncoder
from hivlp.model.fusion import FusionHead
from hivlp.train.batches.batch import Batch
from hivlp.train.batches.views import by_length, crop, hide
from hivlp.train.gradient_cache import in_chunks

TEXT_GROUP = 128  # texts of like length that go through their tower together


class Passes:
    """Passes through the towers for the objectives. Outputs are float32."""

    def __init__(
        self,
        model: DualEncoder,
        *,
        device: torch.device,
        chunk: int = 0,
        half: bool = False,
        locked: bool = False,
    ) -> None:
        """With `locked` the features of a frozen image tower come with the batch."""
        self._model = model
        self._device = device
        self._chunk = chunk
        self._half = half
        self._locked = locked

    def pictures(self, batch: Batch) -> Tensor:
        """Features (B, F) of the images' crops."""
        if self._locked:
            return self._model.image_tower.behind(self.put(batch.features_BD))
        return self._over_pictures(
            batch, lambda pixels, boxes, mirror: self._model.image_features(self.view(pixels, boxes, mirror))
        )

    def regions(self, batch: Batch, hidden_BG: Tensor) -> Tensor:
        """The states (M, F) of the regions that are hidden, image by image."""

        def encode(pixels: Tensor, boxes: Tensor, mirror: Tensor, hidden: Tensor) -> Tensor:
            rows_BCHW = hide(self._model.normalise(self.view(pixels, boxes, mirror)), hidden)
            return self._model.image_tower.regions(rows_BCHW)[hidden]

        return self._over_pictures(batch, encode, hidden_BG)

    def texts(self, batch: Batch) -> Tensor:
        """Features (T, F) of the texts."""
        return self.features(batch.tokens_TL, batch.mask_TL)

    def features(self, tokens: np.ndarray, mask: np.ndarray) -> Tensor:
        """Features (T, F) of T texts, from their tokens."""
        tokens_TL, mask_TL = self.put(tokens), self.put(mask)
        if not len(tokens_TL):  # other processes may have texts; keep the graph connected for the all-reduce
            return torch.zeros(0, self._model.text_tower.width, device=self._device, requires_grad=True)
        groups = self._groups(mask_TL)
        chunks = [(tokens_TL[rows, :longest], mask_TL[rows, :longest]) for rows, longest in groups]
        sorted_TF = self._run(self._model.text_tower, chunks)
        return sorted_TF[torch.argsort(torch.cat([rows for rows, _ in groups]))]

    def words(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The states (M, F) of the masked words, the words themselves (M,), and the text of each (M,)."""
        assert batch.masked_TL is not None and batch.chosen_TL is not None
        masked_TL, chosen_TL = self.put(batch.masked_TL), self.put(batch.chosen_TL)
        tokens_TL, mask_TL = self.put(batch.tokens_TL), self.put(batch.mask_TL)
        if not len(tokens_TL):
            none = torch.zeros(0, dtype=torch.int64, device=self._device)
            return torch.zeros(0, self._model.text_tower.state_width, device=self._device), none, none
        groups = self._groups(mask_TL)
        chunks = [(masked_TL[r, :n], mask_TL[r, :n], chosen_TL[r, :n]) for r, n in groups]
        order_T = torch.cat([rows for rows, _ in groups])
        place_M, column_M = chosen_TL[order_T].nonzero(as_tuple=True)
        text_M = order_T[place_M]

        def encode(tokens: Tensor, mask: Tensor, chosen: Tensor) -> Tensor:
            return self._model.text_tower.states(tokens, mask)[chosen]

        return self._run(encode, chunks), tokens_TL[text_M, column_M], text_M

    def picture_states(self, batch: Batch) -> Tensor:
        """The states (B, G, F) of all regions of the images' crops."""
        tower = self._model.image_tower
        return self._over_pictures(
            batch,
            lambda pixels, boxes, mirror: tower.regions(
                self._model.normalise(self.view(pixels, boxes, mirror))
            ),
        )

    def text_states(self, batch: Batch) -> Tensor:
        """The states (T, L, F) of all tokens of the texts, zeros behind the longest of their group."""
        tokens_TL, mask_TL = self.put(batch.tokens_TL), self.put(batch.mask_TL)
        longest = tokens_TL.shape[1]
        if not len(tokens_TL):
            return torch.zeros(0, longest, self._model.text_tower.state_width, device=self._device)

        def encode(tokens: Tensor, mask: Tensor) -> Tensor:
            states = self._model.text_tower.states(tokens, mask)
            return F.pad(states, (0, 0, 0, longest - states.shape[1]))

        groups = self._groups(mask_TL)
        sorted_TLF = self._run(encode, [(tokens_TL[rows, :n], mask_TL[rows, :n]) for rows, n in groups])
        return sorted_TLF[torch.argsort(torch.cat([rows for rows, _ in groups]))]

    def scores(self, head: FusionHead, regions_PGF: Tensor, words_PLF: Tensor, mask_PL: Tensor) -> Tensor:
        """The fusion head's scores (P,) of pairs; there must be at least one."""
        whole = (regions_PGF, words_PLF, mask_PL)
        pieces = [tensor.split(self._chunk or len(tensor)) for tensor in whole]
        return self._run(head, zip(*pieces, strict=True))

    def view(self, pixels: Tensor, boxes: Tensor, mirror: Tensor) -> Tensor:
        """The crops of packed images at the size of the tower, (B, 3, S, S) in [0, 255]."""
        view_BCHW = crop(pixels, boxes, mirror, size=self._model.config.preprocessing.size)
        return view_BCHW.contiguous(memory_format=torch.channels_last)

    def put(self, array: np.ndarray) -> Tensor:
        """An array of a batch on the device."""
        return torch.from_numpy(array).to(self._device)

    def _groups(self, mask_TL: Tensor) -> list[tuple[Tensor, int]]:
        return list(by_length(mask_TL, group=self._chunk or TEXT_GROUP))

    def _over_pictures(self, batch: Batch, encode: Callable[..., Tensor], *more: Tensor) -> Tensor:
        whole = [*map(self.put, (batch.pixels_BCHW, batch.boxes_B4, batch.mirror_B)), *more]
        pieces = [tensor.split(self._chunk or len(tensor)) for tensor in whole]
        return self._run(encode, zip(*pieces, strict=True))

    def _run(self, encode: Callable[..., Tensor], chunks: Iterable[tuple[Tensor, ...]]) -> Tensor:
        # the towers may compute in half precision; levels and losses never do
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            return in_chunks(encode, chunks, module=self._model, cache=bool(self._chunk)).float()
