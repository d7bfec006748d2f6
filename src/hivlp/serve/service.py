"""Answers requests from the indexes, in threads and in batches; of HTTP it knows only the error responses."""

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
from hivlp.retriever import Index
from hivlp.search.notes import notes_on, spelled
from hivlp.search.query import Part, clean_query, items_of, mixed, parts_of, words_of
from hivlp.search.request import SearchRequest
from hivlp.serve import images, uploads
from hivlp.serve.batching import Batcher, RequestLimit
from hivlp.serve.cache import LeastRecentlyUsed
from hivlp.serve.indexes import ServedIndex
from hivlp.serve.metrics import Metrics
from hivlp.serve.problems import Problem
from hivlp.serve.settings import ServiceSettings
from hivlp.serve.shared_folder import SharedFolder
from hivlp.stores.base import Listing
from hivlp.types import Embeddings, Hits, Item

HttpAnswer = TypeVar("HttpAnswer")


@dataclass(frozen=True)
class Encoded:
    """Embeddings of a query (1 × D at every level), the milliseconds of encoding, and notes for the user."""

    embeddings: Embeddings
    ms: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchTask:
    """One search to do. Tasks that differ only in their vectors are done in one call."""

    served: ServedIndex
    query: Embeddings
    request: SearchRequest
    text: str | None

    @property
    def group(self) -> tuple[Any, ...]:
        """Equal for tasks that can be done in one call."""
        return self.served.name, self.request, self.text is not None


class Service:
    """Indexes by name, and the threads that search them. Belongs to one event loop."""

    def __init__(
        self,
        indexes: Mapping[str, Index],
        settings: ServiceSettings,
        metrics: Metrics,
        shared_folder: SharedFolder | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.served = {name: ServedIndex(name, index, settings.writable) for name, index in indexes.items()}
        self.request_limit = RequestLimit(settings.queue, refused=metrics.refused.labels("queue").inc)
        self._ready = False
        self._shared_folder = shared_folder
        self._encoded_texts: LeastRecentlyUsed[Encoded] = LeastRecentlyUsed(settings.cached_queries)
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
        self._image_tasks = self._batcher(
            "image", _call, most=1, threads=2
        )  # decoding pictures, reading files
        self._lookups = self._batcher("lookup", _call, most=1, threads=4)  # looking items up
        self._writes = self._batcher("write", _call, most=1)

    def _batcher(self, name: str, work: Callable[[list[Any]], Any], **how: int) -> Batcher[Any, Any]:
        return Batcher(work, self._pool, observe=self.metrics.batch_size.labels(name).observe, **how)

    def encoders(self) -> dict[str, Encoder]:
        """The encoders of the indexes by their names, those of the first index first."""
        return {served.index.encoder.name: served.index.encoder for served in self.served.values()}

    def find(self, name: str | None) -> ServedIndex:
        """The index of a name; the first one for None. Raises Problem: 404."""
        if name is None:
            return next(iter(self.served.values()))
        if name not in self.served:
            known = ", ".join(sorted(self.served))
            raise Problem(404, "not_found", f"this service has no index {name!r}; it has {known}")
        return self.served[name]

    async def in_time(self, work: Callable[[], Awaitable[HttpAnswer]]) -> HttpAnswer:
        """The result of some work, if the queue has a free place and the work ends within the time limit."""
        with self.request_limit:
            self.metrics.in_flight.set(self.request_limit.active)
            try:
                with anyio.fail_after(self.settings.timeout_s):  # unlike wait_for, without a task of its own
                    return await work()
            except TimeoutError:
                raise Problem(
                    504,
                    "timeout",
                    f"no answer within {self.settings.timeout_s:g} s: request less, or try again",
                ) from None
            finally:
                self.metrics.in_flight.set(self.request_limit.active - 1)

    async def search(self, served: ServedIndex, parts: Sequence[Part], request: SearchRequest) -> Hits:
        """The answer to one query. An invalid request is refused before anything is decoded or encoded."""
        if request.depth > self.settings.max_k:
            wanted = (
                f"k={request.k} is"
                if not request.offset
                else f"k={request.k} after offset={request.offset} is"
            )
            raise Problem(
                400,
                "bad_query",
                f"{wanted} invalid: this service gives at most {self.settings.max_k:,} hits",
            )
        parts, corrections = parts_of(parts), ()
        if request.spell:
            parts, corrections = spelled(parts, served.index.encoder)
        words = words_of(parts)
        served.index.check(request, words=words is not None)
        encoded = await _all(self._encoded(served, part) for part in parts)
        task = SearchTask(
            served=served,
            query=mixed([one.embeddings for one in encoded], [part.weight for part in parts]),
            request=request.leaving_out(items_of(parts)),
            text=words,
        )
        if request.rerank:  # reads images, so it must not hold up other searches
            hits: Hits = await self._image_tasks.do(lambda: _search_group([task])[0])
        else:
            hits = await self._searches.do(task)
        timings = replace(hits.timings_ms, encode=sum(one.ms for one in encoded))
        self.metrics.observe_stages(timings)
        notes = [note for one in encoded for note in one.notes]
        return replace(hits, timings_ms=timings, notes=(*corrections, *notes, *hits.notes))

    async def embed(self, encoder: Encoder, *, text: str | None, image: bytes | None) -> Embeddings:
        """The embedding of a text or an image: 1 × D at every level."""
        one = await (self._text(encoder, text) if text is not None else self._image(encoder, image or b""))
        return one.embeddings

    async def item(self, served: ServedIndex, name: str) -> Item:
        """An item by its id. Raises Problem: 404."""
        (item,) = await self._lookups.do(lambda: served.index.store.fetch([name]))
        if item is None:
            raise Problem(404, "not_found", f"the index {served.name!r} has no item {name!r}")
        return item

    async def listed(
        self, served: ServedIndex, *, offset: int, limit: int, where: str | None, kind: str | None
    ) -> Listing:
        """Items of an index without a search, those added last first."""
        store = served.index.store
        return await self._lookups.do(
            lambda: store.listed(offset=offset, limit=limit, where=where, kind=kind)
        )

    async def original(self, served: ServedIndex, item: Item) -> tuple[bytes, str]:
        """The image of an item as a browser shows it, and its media type."""
        return await self._image_tasks.do(lambda: images.original(item, served.index.place(item)))

    async def thumbnail(self, served: ServedIndex, item: Item, side: int) -> bytes:
        """A small JPEG of an item's image."""
        key = (item.sha256, side)
        cached = self._thumbnails.get(key)
        if cached is None:
            cached = await self._image_tasks.do(
                lambda: images.thumbnail(item, served.index.place(item), side)
            )
            self._thumbnails.put(key, cached)
        return cached

    async def add(self, served: ServedIndex, uploads_: Sequence[uploads.Upload]) -> uploads.Added:
        """Adds images and texts to an index, durably."""
        self._check_writable(served)
        limit = self.settings.max_image_pixels
        return await self._writes.do(
            lambda: _then_read_facts(served, uploads.add(served.index, uploads_, limit))
        )

    async def delete(self, served: ServedIndex, ids: Sequence[str]) -> list[str]:
        """Removes items. Returns the unknown ids."""
        self._check_writable(served)
        return await self._writes.do(lambda: _then_read_facts(served, uploads.delete(served.index, ids)))

    async def warm_up(self) -> None:
        """Searches every index once, so that the first user does not wait for models and coarse indexes."""
        for served in self.served.values():
            await self._lookups.do(served.read_facts)
            await self.search(served, [Part(text="warm up")], SearchRequest(k=1))
        self._count()
        self._ready = True
        if self._shared_folder is not None:
            self._shared_folder.mark_ready()

    def is_ready(self) -> bool:
        """Whether this process and all other processes of the service have warmed up."""
        return self._ready and (self._shared_folder is None or self._shared_folder.all_ready())

    async def refresh(self) -> None:
        """Takes up what other processes have written into the indexes, once `warm_up` has ended."""
        if not self._ready:
            return
        for served in self.served.values():
            await self._lookups.do(served.refresh)
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

    def _check_writable(self, served: ServedIndex) -> None:
        if not served.writable:
            raise Problem(
                403,
                "read_only",
                f"the index {served.name!r} is served for reading only; see hivlp serve --writable",
            )

    async def _encoded(self, served: ServedIndex, part: Part) -> Encoded:
        if part.text is not None:
            return await self._text(served.index.encoder, part.text)
        if part.item is not None:
            name = (await self.item(served, part.item)).id
            return Encoded(await self._lookups.do(lambda: served.index.store.embeddings([name])))
        assert isinstance(part.image, bytes)
        return await self._image(served.index.encoder, part.image)

    async def _text(self, encoder: Encoder, text: str) -> Encoded:
        words = clean_query(text)
        key = (id(encoder), words)  # two indexes may rotate the vectors of one model differently
        cached = self._encoded_texts.get(key)
        self.metrics.query_cache.labels("miss" if cached is None else "hit").inc()
        if cached is not None:
            return cached
        one: Encoded = await self._texts[id(encoder)].do(words)
        self._encoded_texts.put(key, replace(one, ms=0.0))
        return one

    async def _image(self, encoder: Encoder, data: bytes) -> Encoded:
        return await self._image_tasks.do(lambda: _encode_image(encoder, data, self.settings))


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


def _encode_image(encoder: Encoder, data: bytes, settings: ServiceSettings) -> Encoded:
    begin = time.perf_counter()
    if len(data) > settings.max_image_bytes:
        raise ImageError(
            f"the image has {len(data):,} bytes, the limit is {settings.max_image_bytes:,}: make it smaller"
        )
    check(data, max_pixels=settings.max_image_pixels)
    embeddings = encoder.encode_images([data])
    return Encoded(embeddings, (time.perf_counter() - begin) * 1e3)


def _search(tasks: list[SearchTask]) -> list[Hits | Exception]:
    """Results of some searches, each group in one call. A failing call fails only its own group."""
    results: list[Hits | Exception | None] = [None] * len(tasks)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, task in enumerate(tasks):
        groups.setdefault(task.group, []).append(place)
    for places in groups.values():
        try:
            found: Sequence[Hits | Exception] = _search_group([tasks[place] for place in places])
        except Exception as error:
            found = [error] * len(places)
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return [result for result in results if result is not None]


def _search_group(tasks: list[SearchTask]) -> list[Hits]:
    first = tasks[0]
    queries = Embeddings.concatenate([task.query for task in tasks])
    texts = [task.text for task in tasks if task.text is not None]  # of all tasks of a group, or of none
    return first.served.index.search_vectors(queries, first.request, texts=texts or None)


def _call(tasks: list[Callable[[], Any]]) -> list[Any]:
    """Runs calls; an error that one raises becomes its result."""
    results: list[Any] = []
    for task in tasks:
        try:
            results.append(task())
        except (HivlpError, Problem) as error:
            results.append(error)
    return results


def _then_read_facts(served: ServedIndex, result: HttpAnswer) -> HttpAnswer:
    served.read_facts()
    return result


async def _all(work: Any) -> list[Any]:
    """Results of several awaitables, computed at the same time."""
    tasks = list(work)
    return [await tasks[0]] if len(tasks) == 1 else await asyncio.gather(*tasks)
