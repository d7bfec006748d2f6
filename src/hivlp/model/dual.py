"""The dual encoder: two independent towers, their levels, and an optional fusion head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hivlp.config import ModelConfig
from hivlp.model.fusion import FusionHead
from hivlp.model.towers import ImageTower, TextTower
from hivlp.registry import resolve

# e^4.6 = 100: above that, cosines differ by less than what half precision can hold (CLIP's own bound)
MAX_LOG_SCALE = math.log(100.0)


class DualEncoder(nn.Module):
    """Images and texts to unit vectors at every level, with one learnable temperature per level."""

    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.image_tower = ImageTower(config.image, size=config.preprocessing.size)
        levels = config.levels
        self.text_tower = TextTower(config.text, vocabulary=config.vocabulary, max_tokens=config.max_tokens)
        make_levels = resolve("levels", levels.kind)
        made = (levels.widths, levels.hidden, levels.dropout)
        self.image_levels = make_levels(self.image_tower.width, *made)
        self.text_levels = make_levels(self.text_tower.width, *made)
        self.fusion = None
        if config.fusion is not None:
            self.fusion = FusionHead(
                config.fusion, regions=self.image_tower.state_width, words=self.text_tower.state_width
            )
        start = math.log(config.logit_scale)
        self.log_scale_L = nn.Parameter(torch.full((len(config.levels.widths),), start))
        shape = (1, 3, 1, 1)
        std, mean = torch.tensor(config.preprocessing.std), torch.tensor(config.preprocessing.mean)
        # (x / 255 - mean) / std as one multiplication and one addition
        self.register_buffer("pixel_scale", (1 / (255 * std)).view(shape), persistent=False)
        self.register_buffer("pixel_shift", (-mean / std).view(shape), persistent=False)

    def train(self, mode: bool = True) -> DualEncoder:
        """As for any module, except that frozen batch norms keep and use their statistics."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, _BatchNorm) and part.weight is not None and not part.weight.requires_grad:
                part.eval()
        return self

    @property
    def logit_scales(self) -> dict[int, Tensor]:
        """The inverse temperature of each level, in (0, 100]."""
        scales_L = self.log_scale_L.clamp(max=MAX_LOG_SCALE).exp()
        return dict(zip(self.config.levels.widths, scales_L, strict=True))

    def normalise(self, pixels_BCHW: Tensor) -> Tensor:
        """The input of the image tower, from pixels in [0, 255], uint8 or float."""
        return torch.addcmul(self.pixel_shift, pixels_BCHW.float(), self.pixel_scale)

    def image_features(self, pixels_BCHW: Tensor) -> Tensor:
        """Features (B, F) of pixels in [0, 255], uint8 or float."""
        return self.image_tower(self.normalise(pixels_BCHW))

    def encode_pixels(self, pixels_BCHW: Tensor) -> dict[int, Tensor]:
        """Unit vectors by width, of pixels in [0, 255]."""
        return self.image_levels(self.image_features(pixels_BCHW))

    def encode_tokens(self, tokens_BT: Tensor, mask_BT: Tensor) -> dict[int, Tensor]:
        """Unit vectors by width, of token numbers and their mask (1 = real, 0 = padding)."""
        return self.text_levels(self.text_tower(tokens_BT, mask_BT))
