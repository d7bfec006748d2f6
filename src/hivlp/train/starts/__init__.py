"""Where a run begins: a trained model, pretrained towers, a linear solution, or adapters."""
