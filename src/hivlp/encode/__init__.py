"""Encoders at work: one protocol, several runtimes, and the pipeline that keeps them fed."""

from hivlp.encode.base import Encoder, load
from hivlp.encode.stream import EncodedBatch, encode_stream, encode_text_stream

__all__ = ["EncodedBatch", "Encoder", "encode_stream", "encode_text_stream", "load"]
