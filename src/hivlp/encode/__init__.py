"""Encoders at work: one protocol, several runtimes, and the pipeline that keeps them fed."""

import os

# From 1.29 on ONNX Runtime reports models and machines to its maker unless this is set before it is loaded.
# HiVLP promises to work offline and to report nothing about its use. Nothing else is set at import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from hivlp.encode.base import Encoder, load
from hivlp.encode.stream import EncodedBatch, encode_stream, encode_text_stream

__all__ = ["EncodedBatch", "Encoder", "encode_stream", "encode_text_stream", "load"]
