"""Training batches: packed sources, mixtures, masks, crops, and the stored outputs of teachers."""
