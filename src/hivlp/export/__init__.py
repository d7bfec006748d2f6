"""Writes models: ONNX graphs, 8-bit graphs, converted and folded model folders. Needs torch."""
