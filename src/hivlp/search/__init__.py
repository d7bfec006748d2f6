"""Search in two stages: what a caller asks for, the plan, the cascade, and the re-ranker."""
