"""The laboratory: benchmarks, the systems that the paper compares, and its tables measured anew."""
