"""Retrieval metrics, the protocols that papers report, and their tables."""
