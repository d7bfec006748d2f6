"""Two-stage search: the request, the plan, the cascade and the re-ranker."""
