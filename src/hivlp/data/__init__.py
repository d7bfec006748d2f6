"""Reads images and captions: sources, decoding, original files, tokenizers."""
