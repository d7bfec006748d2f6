"""What is minimised: pure functions of embeddings that return named losses. Needs torch."""
