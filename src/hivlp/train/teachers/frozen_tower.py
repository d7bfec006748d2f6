"""A locked image tower: its features of every stored view are computed once.

Locked-image tuning (LiT, arXiv 2111.07991, section 3): only the text side learns.
With stored features a step costs only the levels and the text tower.
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

# the settings that its features depend on; norm and dropout come behind them
READ = {"image": {"kind", "options", "pooling"}, "preprocessing": True}


class FrozenTower:
    """A model's own image tower, which computes its features of each view once."""

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
        """The pooled features of views (V, width).

        Raises:
            ModelError: a feature is NaN or too large for float16.
        """
        if self._graph is not None:
            (values_VF,) = self._graph.run(None, {"pixels": pixels_VCHW})
        else:
            values_VF = self._by_torch(pixels_VCHW)
        features_VF = np.asarray(values_VF).astype(np.float16)
        if not np.isfinite(features_VF).all():
            raise ModelError(
                "the locked tower produces features that are NaN or exceed 65504, the float16 maximum; train "
                "without lock_image"
            )
        return features_VF

    @cached_property
    def _graph(self) -> onnxruntime.InferenceSession | None:
        """The tower as an ONNX graph, three times as fast as torch on a CPU; None where torch computes."""
        if self._model.pixel_scale.device.type != "cpu":
            return None
        with TemporaryDirectory() as folder:
            try:
                path = export_features(self._model.eval(), Path(folder) / "features.onnx")
                return open_graph(path, threads=torch.get_num_threads())
            except Exception:  # torch cannot export some operations, and raises many kinds of errors
                return None

    @torch.no_grad()
    def _by_torch(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._model.eval()
        shown_VCHW = torch.from_numpy(pixels_VCHW).to(self._model.pixel_scale.device)
        return self._model.image_tower.pooled(self._model.normalise(shown_VCHW)).cpu().numpy()
