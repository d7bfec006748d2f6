"""A picture tower that stays as it is: its features of every stored view are computed once.

Locked-image tuning (LiT, arXiv 2111.07991, section 3): texts learn to meet pictures as the tower sees them.
With the features on the disk a step costs what the levels and the text tower cost.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from hivlp.encode.export import export_features
from hivlp.encode.onnx import open_graph
from hivlp.model.dual import DualEncoder


class LockedTower:
    """A model's own picture tower in the place of a teacher."""

    def __init__(self, model: DualEncoder) -> None:
        self._model = model.eval()
        self.size, self.width = model.config.preprocessing.size, model.image_tower.width
        weights = hashlib.sha256(model.config.preprocessing.model_dump_json().encode())
        for value in model.image_tower.state_dict().values():
            weights.update(value.cpu().contiguous().numpy().tobytes())
        self.key = f"locked:{weights.hexdigest()[:12]}"
        self._graph = None
        if model.pixel_scale.device.type == "cpu":  # where the graph takes a third of torch's time
            with TemporaryDirectory() as folder:
                path = export_features(model, Path(folder) / "features.onnx")
                self._graph = open_graph(path, threads=torch.get_num_threads())

    @torch.no_grad()
    def features(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The tower's pooled features (V, width) of views, before norm and dropout."""
        if self._graph is not None:
            (features_VF,) = self._graph.run(None, {"pixels": pixels_VCHW})
            return np.asarray(features_VF).astype(np.float16)
        self._model.eval()
        shown_VCHW = torch.from_numpy(pixels_VCHW).to(self._model.pixel_scale.device)
        features_VF = self._model.image_tower.pooled(self._model.normalise(shown_VCHW))
        return features_VF.cpu().numpy().astype(np.float16)
