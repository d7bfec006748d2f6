"""Encoders at work: one protocol, several runtimes, and the pipeline that keeps them fed."""
