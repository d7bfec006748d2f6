"""What a service allows: keys, limits and times, with safe values for one machine."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Settings of one service.

    Attributes:
        keys: whoever shows one of these may use the API; without any, everybody who reaches the port may.
        hosts: values of the header ``Host`` that are answered, without port; empty for all. A page of another
            site that makes its own name point to this machine (DNS rebinding) is refused by it.
        cors_origins: origins (``https://shop.example``) whose pages may call the API; none by default.
        writable: items can be added and deleted.
        max_image_bytes: of one picture, encoded.
        max_image_pixels: of one picture; it is refused before it is decoded.
        max_body_bytes: of one request.
        max_bodies_bytes: of all requests together that are at work; one more is answered with 429.
        max_queries: queries, or texts to embed, in one request.
        max_k: hits of one query.
        max_hits: hits of all queries of one request together.
        queue: requests that compute or wait at a time; one more is answered with 429.
        batch: texts or searches that are computed together.
        search_threads: batches of searches at work at a time.
        timeout_s: seconds that a request may compute and wait.
        body_timeout_s: seconds that a client may take to send a request.
        rate_per_s: requests a second that one key (or one address, without keys) may make for long; 0 for
            any number.
        refresh_s: seconds between looks for what other processes have written into the indexes.
        cached_queries: embeddings of so many texts are kept.
        cached_thumbnail_bytes: thumbnails are kept in memory up to this many bytes.
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
