"""Losses of a training step that need batches, processes or heads; pure ones are in `objectives`."""
