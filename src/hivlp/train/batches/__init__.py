"""Training batches: packed sources, mixtures, masks, crops, and the targets that teachers stored."""
