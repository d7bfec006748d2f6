"""What requests ask of the indexes, computed in threads and in batches; it knows no HTTP but its problems."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import anyio

from hivlp.data.images import check
from hivlp.encode import Encoder
from hivlp.errors import HivlpError, ImageError
from hivlp.retriever import Index, notes_on
from hivlp.search.query import Part, clean_query, items_of, mixed
from hivlp.search.request import Asked, SearchOptions
from hivlp.serve import pictures, uploads
from hivlp.serve.batching import Batcher, Gate
from hivlp.serve.cache import LeastRecentlyUsed
from hivlp.serve.metrics import Metrics
from hivlp.serve.problems import Problem
from hivlp.serve.served import Served
from hivlp.serve.settings import Settings
from hivlp.serve.shared import Shared
from hivlp.types import Embeddings, Hits, Item

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Encoded:
    """A query's embeddings (1 × D at every level), the milliseconds they cost, and what is to be said."""

    embeddings: Embeddings
    ms: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Search:
    """One search to do. Those that agree in everything but the vectors are done in one call."""

    served: Served
    query: Embeddings
    k: int
    options: SearchOptions
    text: str | None
    without: frozenset[str]

    @property
    def alike(self) -> tuple[Any, ...]:
        """Equal for searches that can be done together."""
        return self.served.name, self.k, tuple(self.options.values()), self.text is not None, self.without


class Service:
    """Indexes under their names, and the threads that work for them. Belongs to one event loop."""

    def __init__(
        self,
        indexes: Mapping[str, Index],
        settings: Settings,
        metrics: Metrics,
        shared: Shared | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.served = {name: Served(name, index, settings.writable) for name, index in indexes.items()}
        self.gate = Gate(settings.queue, refused=metrics.refused.labels("queue").inc)
        self._ready = False
        self._shared = shared
        self._kept: LeastRecentlyUsed[Encoded] = LeastRecentlyUsed(settings.cached_queries)
        self._thumbnails: LeastRecentlyUsed[bytes] = LeastRecentlyUsed(
            settings.cached_thumbnail_bytes, size=len
        )
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="hivlp")
        self._texts = {
            id(encoder): self._batcher("encode", _TextWork(encoder), most=settings.batch)
            for encoder in (served.index.encoder for served in self.served.values())
        }
        self._searches = self._batcher(
            "search", _search, most=settings.batch, threads=settings.search_threads
        )
        self._alone = self._batcher("alone", _call, most=1, threads=2)  # decoding pictures, reading files
        self._short = self._batcher("short", _call, most=1, threads=4)  # looking items up
        self._writes = self._batcher("write", _call, most=1)

    def _batcher(self, name: str, work: Callable[[list[Any]], Any], **how: int) -> Batcher[Any, Any]:
        return Batcher(work, self._pool, observe=self.metrics.batch_size.labels(name).observe, **how)

    def encoders(self) -> dict[str, Encoder]:
        """The encoders of the indexes by their names, those of the first index first."""
        return {served.index.encoder.name: served.index.encoder for served in self.served.values()}

    def find(self, name: str | None) -> Served:
        """The index of a name; the first one for None. Raises Problem: 404."""
        if name is None:
            return next(iter(self.served.values()))
        if name not in self.served:
            known = ", ".join(sorted(self.served))
            raise Problem(404, "not_found", f"there is no index {name!r} in this service; it has {known}")
        return self.served[name]

    async def in_time(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """What some work gives, where there is a place in the queue and it ends within the time limit."""
        with self.gate:
            self.metrics.in_flight.set(self.gate.inside)
            try:
                with anyio.fail_after(self.settings.timeout_s):  # unlike wait_for without a task of its own
                    return await work()
            except TimeoutError:
                raise Problem(
                    504,
                    "timeout",
                    f"no answer within {self.settings.timeout_s:g} s; ask for less, or try again",
                ) from None
            finally:
                self.metrics.in_flight.set(self.gate.inside - 1)

    async def search(self, served: Served, parts: Sequence[Part], k: int, options: SearchOptions) -> Hits:
        """The answer to one query."""
        if k > self.settings.max_k:
            raise Problem(
                400, "bad_query", f"k={k} is more than {self.settings.max_k:,}, the limit of this service"
            )
        Asked.of(options)  # what can't be is refused before anything is computed
        encoded = await _all(self._encoded(served, part) for part in parts)
        search = Search(
            served=served,
            query=mixed([one.embeddings for one in encoded], [part.weight for part in parts]),
            k=k,
            options=options,
            text=clean_query(parts[0].text) if len(parts) == 1 and parts[0].text is not None else None,
            without=items_of(parts),
        )
        if options.get("rerank"):  # reads pictures, so it must not hold up what only searches
            hits: Hits = await self._alone.do(lambda: _answers([search])[0])
        else:
            hits = await self._searches.do(search)
        timings = replace(hits.timings_ms, encode=sum(one.ms for one in encoded))
        self.metrics.saw(timings)
        notes = [note for one in encoded for note in one.notes]
        return replace(hits, timings_ms=timings, notes=(*notes, *hits.notes))

    async def embed(self, encoder: Encoder, *, text: str | None, image: bytes | None) -> Embeddings:
        """The embedding of a text or a picture: 1 × D at every level."""
        one = await (self._text(encoder, text) if text is not None else self._picture(encoder, image or b""))
        return one.embeddings

    async def item(self, served: Served, name: str) -> Item:
        """An item by its id. Raises Problem: 404."""
        (item,) = await self._short.do(lambda: served.index.store.fetch([name]))
        if item is None:
            raise Problem(404, "not_found", f"there is no item {name!r} in the index {served.name!r}")
        return item

    async def original(self, served: Served, item: Item) -> tuple[bytes, str]:
        """The picture file of an item and its media type."""
        return await self._alone.do(lambda: _original(served, item))

    async def thumbnail(self, served: Served, item: Item, side: int) -> bytes:
        """A small JPEG of an item's picture."""
        key = (item.sha256, side)
        kept = self._thumbnails.get(key)
        if kept is None:
            kept = await self._alone.do(lambda: pictures.thumbnail(_original(served, item)[0], side))
            self._thumbnails.put(key, kept)
        return kept

    async def add(self, served: Served, uploads_: Sequence[uploads.Upload]) -> uploads.Added:
        """Adds pictures and texts to an index, durably."""
        self._check_writable(served)
        limit = self.settings.max_image_pixels
        return await self._writes.do(lambda: _then_look(served, uploads.add(served.index, uploads_, limit)))

    async def delete(self, served: Served, ids: Sequence[str]) -> list[str]:
        """Removes items. Returns the ids that there were none of."""
        self._check_writable(served)
        return await self._writes.do(lambda: _then_look(served, uploads.delete(served.index, ids)))

    async def warm_up(self) -> None:
        """One search in every index, so that the first person does not wait for graphs and coarse indexes."""
        for served in self.served.values():
            await self._short.do(served.look)
            await self.search(served, [Part(text="warm up")], 1, {})
        self._count()
        self._ready = True
        if self._shared is not None:
            self._shared.say_ready()

    def is_ready(self) -> bool:
        """Whether it has warmed up, and so have the other processes of the service."""
        return self._ready and (self._shared is None or self._shared.all_ready())

    async def refresh(self) -> None:
        """Takes up what other processes have written into the indexes."""
        for served in self.served.values():
            await self._short.do(served.refresh)
        self._count()

    def close(self) -> None:
        """Ends the threads and closes the indexes."""
        self._ready = False
        self._pool.shutdown(wait=True, cancel_futures=True)
        for served in self.served.values():
            served.index.close()

    def _count(self) -> None:
        for served in self.served.values():
            self.metrics.items.labels(served.name).set(served.facts["items"])

    def _check_writable(self, served: Served) -> None:
        if not served.writable:
            raise Problem(
                403,
                "read_only",
                f"the index {served.name!r} is served for reading only; see hivlp serve --writable",
            )

    async def _encoded(self, served: Served, part: Part) -> Encoded:
        if part.text is not None:
            return await self._text(served.index.encoder, part.text)
        if part.item is not None:
            name = (await self.item(served, part.item)).id
            return Encoded(await self._short.do(lambda: served.index.store.embeddings([name])))
        assert isinstance(part.image, bytes)
        return await self._picture(served.index.encoder, part.image)

    async def _text(self, encoder: Encoder, text: str) -> Encoded:
        words = clean_query(text)
        key = (id(encoder), words)  # two indexes may turn the vectors of one model each its own way
        kept = self._kept.get(key)
        self.metrics.query_cache.labels("miss" if kept is None else "hit").inc()
        if kept is not None:
            return kept
        one: Encoded = await self._texts[id(encoder)].do(words)
        self._kept.put(key, replace(one, ms=0.0))
        return one

    async def _picture(self, encoder: Encoder, data: bytes) -> Encoded:
        return await self._alone.do(lambda: _encode_picture(encoder, data, self.settings))


class _TextWork:
    """Encodes the texts of several requests in one call."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __call__(self, texts: list[str]) -> list[Encoded]:
        begin = time.perf_counter()
        different = list(dict.fromkeys(texts))
        embeddings = self._encoder.encode_texts(different)
        ms = (time.perf_counter() - begin) * 1e3 / len(texts)
        rows = {text: row for row, text in enumerate(different)}
        return [Encoded(embeddings.take([rows[t]]), ms, notes_on(t, self._encoder)) for t in texts]


def _encode_picture(encoder: Encoder, data: bytes, settings: Settings) -> Encoded:
    begin = time.perf_counter()
    if len(data) > settings.max_image_bytes:
        raise ImageError(
            f"it has {len(data):,} bytes, the limit is {settings.max_image_bytes:,}; make it smaller"
        )
    check(data, max_pixels=settings.max_image_pixels)
    embeddings = encoder.encode_images([data])
    return Encoded(embeddings, (time.perf_counter() - begin) * 1e3)


def _search(tasks: list[Search]) -> list[Hits | Exception]:
    """Some searches; those that are alike in one call each. A call that fails fails only its own."""
    results: list[Hits | Exception | None] = [None] * len(tasks)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, task in enumerate(tasks):
        groups.setdefault(task.alike, []).append(place)
    for places in groups.values():
        found = _search_alike([tasks[place] for place in places])
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return [result for result in results if result is not None]


def _search_alike(tasks: list[Search]) -> list[Hits] | list[Exception]:
    try:
        return _answers(tasks)
    except Exception as error:
        return [error] * len(tasks)


def _answers(tasks: list[Search]) -> list[Hits]:
    first = tasks[0]
    queries = Embeddings.concatenate([task.query for task in tasks])
    texts = [task.text for task in tasks if task.text is not None]  # all of them have one, or none
    return first.served.index.search_vectors(
        queries, first.k, texts=texts or None, without=first.without, **first.options
    )


def _call(tasks: list[Callable[[], Any]]) -> list[Any]:
    """Runs one call; what it raises is its result."""
    results: list[Any] = []
    for task in tasks:
        try:
            results.append(task())
        except (HivlpError, Problem) as error:
            results.append(error)
    return results


def _original(served: Served, item: Item) -> tuple[bytes, str]:
    return pictures.original(item, served.index.place(item))


def _then_look(served: Served, result: Answer) -> Answer:
    served.look()
    return result


async def _all(work: Any) -> list[Any]:
    """Several results, computed at the same time."""
    tasks = list(work)
    return [await tasks[0]] if len(tasks) == 1 else await asyncio.gather(*tasks)
