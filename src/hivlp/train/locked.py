"""A picture tower that stays as it is: its features of every stored view are computed once.

Locked-image tuning (LiT, arXiv 2111.07991, section 3): texts learn to meet pictures as the tower sees them.
With the features on the disk a step costs what the levels and the text tower cost.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from hivlp.model.dual import DualEncoder


class LockedTower:
    """A model's own picture tower in the place of a teacher."""

    def __init__(self, model: DualEncoder) -> None:
        self._model = model
        self.size, self.width = model.config.preprocessing.size, model.image_tower.width
        weights = hashlib.sha256()
        for value in model.image_tower.state_dict().values():
            weights.update(value.cpu().contiguous().numpy().tobytes())
        self.key = f"locked:{weights.hexdigest()[:12]}"

    @torch.no_grad()
    def features(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The tower's features (V, width) of views, without dropout."""
        self._model.eval()
        device = self._model.pixel_scale.device
        features_VF = self._model.image_features(torch.from_numpy(pixels_VCHW).to(device))
        return features_VF.cpu().numpy().astype(np.float16)
