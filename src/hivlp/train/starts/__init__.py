"""Initial weights of a run: a trained model, pretrained towers, a linear start, or adapters."""
