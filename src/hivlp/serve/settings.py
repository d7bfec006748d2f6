"""Keys, limits and times of a service, with safe defaults for one machine."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServiceSettings(BaseModel):
    """Settings of one service.

    Attributes:
        keys: API keys; without any, everybody who can reach the port may use the API.
        hosts: accepted values of the header ``Host``, without port; empty for all. Refuses pages of other
            sites whose own name points to this machine (DNS rebinding).
        cors_origins: origins (``https://shop.example``) whose pages may call the API; none by default.
        writable: requests may add and delete items.
        max_image_bytes: largest encoded image.
        max_image_pixels: largest image in pixels; a larger one is refused before it is decoded.
        max_body_bytes: largest request body.
        max_bodies_bytes: largest size of all request bodies in memory; above it a request gets 429.
        max_queries: largest number of queries, or of texts to embed, in one request.
        max_k: largest number of hits of one query.
        max_hits: largest number of hits of all queries of one request together.
        queue: largest number of requests at work or waiting; above it a request gets 429.
        batch: largest number of texts or searches in one batch.
        search_threads: batches of searches at work at a time.
        timeout_s: seconds that a request may compute and wait.
        body_timeout_s: seconds that a client may take to send a request.
        rate_per_s: requests per second allowed for one key (without keys: for one address); 0 for no limit.
        refresh_s: seconds between checks for what other processes have written into the indexes.
        cached_queries: number of texts whose embeddings are cached.
        cached_thumbnail_bytes: largest size of all cached thumbnails.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[str, ...] = Field(default=(), repr=False)
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    writable: bool = False
    max_image_bytes: int = Field(default=20_000_000, ge=1)
    max_image_pixels: int = Field(default=50_000_000, ge=1)
    max_body_bytes: int = Field(default=32_000_000, ge=1)
    max_bodies_bytes: int = Field(default=512_000_000, ge=1)
    max_queries: int = Field(default=256, ge=1)
    max_k: int = Field(default=1_000, ge=1)
    max_hits: int = Field(default=50_000, ge=1)
    queue: int = Field(default=256, ge=1)
    batch: int = Field(default=64, ge=1)
    search_threads: int = Field(default=2, ge=1)
    timeout_s: float = Field(default=20.0, gt=0)
    body_timeout_s: float = Field(default=30.0, gt=0)
    rate_per_s: float = Field(default=0.0, ge=0)
    refresh_s: float = Field(default=2.0, gt=0)
    cached_queries: int = Field(default=4_096, ge=0)
    cached_thumbnail_bytes: int = Field(default=64_000_000, ge=0)
