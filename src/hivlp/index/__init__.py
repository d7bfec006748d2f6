"""The index on disk: items, vectors by level, coarse structures; it knows neither models nor pictures."""
