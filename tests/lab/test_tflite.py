"""A backbone of TFLite: what is not there is named."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert")

from hivlp.errors import ModelError
from hivlp_lab.flickr8k.tflite import Tflite


def test_a_missing_backbone_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"the backbone .*none.tflite is not there; .* --backbone"):
        Tflite(tmp_path / "none.tflite", tensor=0)
