"""The training loop: one step, one loop, checkpoints. Needs torch."""
