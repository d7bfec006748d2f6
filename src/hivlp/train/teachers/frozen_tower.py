"""A picture tower that stays as it is: its features of every stored view are computed once.

Locked-image tuning (LiT, arXiv 2111.07991, section 3): texts learn to meet pictures as the tower sees them.
With the features on the disk a step costs what the levels and the text tower cost.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from hivlp.encode.onnx import open_graph
from hivlp.errors import ModelError
from hivlp.export.graphs import export_features
from hivlp.model.dual import DualEncoder

# what of a configuration its features depend on; norm and dropout come behind them
READ = {"image": {"kind", "options", "pooling"}, "preprocessing": True}


class LockedTower:
    """A model's own picture tower, asked once for each view."""

    def __init__(self, model: DualEncoder) -> None:
        self._model = model
        self.size, self.width = model.config.preprocessing.size, model.image_tower.width
        config = model.config.model_dump_json(include=READ)
        weights = hashlib.sha256(config.encode())
        for value in model.image_tower.backbone.state_dict().values():
            weights.update(value.cpu().contiguous().numpy().tobytes())
        weights.update(str(self.width).encode())
        self.key = f"locked:{weights.hexdigest()[:12]}"

    def features(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        """What the tower sees of views (V, width): its pooled features.

        Raises:
            ModelError: one is too large for half precision.
        """
        if self._graph is not None:
            (values_VF,) = self._graph.run(None, {"pixels": pixels_VCHW})
        else:
            values_VF = self._by_torch(pixels_VCHW)
        features_VF = np.asarray(values_VF).astype(np.float16)
        if not np.isfinite(features_VF).all():
            raise ModelError(
                "the locked tower gives features that are no numbers, or above 65504, the most that is "
                "stored; train without lock_image"
            )
        return features_VF

    @cached_property
    def _graph(self) -> onnxruntime.InferenceSession | None:
        """The tower as a graph, which takes a CPU a third of torch's time; None where torch is asked."""
        if self._model.pixel_scale.device.type != "cpu":
            return None
        with TemporaryDirectory() as folder:
            try:
                path = export_features(self._model.eval(), Path(folder) / "features.onnx")
                return open_graph(path, threads=torch.get_num_threads())
            except Exception:  # torch has no way to write some operations, and as many errors for it
                return None

    @torch.no_grad()
    def _by_torch(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._model.eval()
        shown_VCHW = torch.from_numpy(pixels_VCHW).to(self._model.pixel_scale.device)
        return self._model.image_tower.pooled(self._model.normalise(shown_VCHW)).cpu().numpy()
