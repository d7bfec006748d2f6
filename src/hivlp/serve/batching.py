"""Runs the tasks of concurrent requests together in threads; it does not know what the tasks are."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from hivlp.serve.problems import busy

Job = TypeVar("Job")
Result = TypeVar("Result")


class Batcher(Generic[Job, Result]):
    """Collects tasks while its threads are busy, and gives all of them to the next free thread.

    No task waits for a batch to fill: with an idle thread it starts at once, and under load batches grow by
    themselves. Belongs to one event loop.
    """

    def __init__(
        self,
        work: Callable[[list[Job]], Sequence[Result | Exception]],
        pool: Executor,
        *,
        most: int,
        threads: int = 1,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        """A batcher.

        Args:
            work: does a batch of tasks in a thread and returns one result for each, in order; an exception
                among the results fails only its own task.
            pool: the threads.
            most: largest number of tasks in a batch.
            threads: largest number of batches at work at a time.
            observe: called with the size of every batch.
        """
        self._work = work
        self._pool = pool
        self._most = most
        self._idle = threads
        self._observe = observe
        self._waiting: deque[tuple[Job, asyncio.Future[Result]]] = deque()

    async def do(self, task: Job) -> Result:
        """The result of one task. A caller that stops waiting (timeout, disconnect) cancels its task."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((task, future))
        self._start()
        return await future

    def _start(self) -> None:
        while self._idle and (batch := self._next()):
            self._idle -= 1
            self._observe(len(batch))
            tasks = [task for task, _ in batch]
            done = asyncio.get_running_loop().run_in_executor(self._pool, self._work, tasks)
            done.add_done_callback(lambda done, batch=batch: self._finish(done, batch))

    def _next(self) -> list[tuple[Job, asyncio.Future[Result]]]:
        batch: list[tuple[Job, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._most:
            task, future = self._waiting.popleft()
            if not future.done():
                batch.append((task, future))
        return batch

    def _finish(
        self,
        done: asyncio.Future[Sequence[Result | Exception]],
        batch: list[tuple[Job, asyncio.Future[Result]]],
    ) -> None:
        self._idle += 1
        failure = asyncio.CancelledError() if done.cancelled() else done.exception()
        results = [failure] * len(batch) if failure is not None else done.result()
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._start()


class RequestLimit:
    """Limits the number of requests at work or waiting at a time. ``with limit: …``

    Attributes:
        active: requests at work or waiting now.
    """

    def __init__(self, limit: int, refused: Callable[[], None] = lambda: None) -> None:
        self.limit = limit
        self.active = 0
        self._refused = refused

    def __enter__(self) -> None:
        if self.active >= self.limit:
            self._refused()
            raise busy(f"{self.active} requests are at work or waiting, which is the limit: try again soon")
        self.active += 1

    def __exit__(self, *error: object) -> None:
        self.active -= 1
