"""Encoders that are trained: towers, levels, the dual encoder and its folder. Needs torch."""
