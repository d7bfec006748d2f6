"""What is computed once over a pack before training: features, embeddings and scores of teachers."""
