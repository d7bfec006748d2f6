"""Work of concurrent requests, done together in threads; it knows nothing of what the work is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from hivlp.serve.problems import busy

Task = TypeVar("Task")
Result = TypeVar("Result")


class Batcher(Generic[Task, Result]):
    """Gathers tasks while a thread is at work, and hands all of them to the next free one.

    Nobody waits for a batch to fill: a task that meets an idle thread starts at once, and under load batches
    grow by themselves. Belongs to one event loop.
    """

    def __init__(
        self,
        work: Callable[[list[Task]], Sequence[Result | Exception]],
        pool: Executor,
        *,
        most: int,
        threads: int = 1,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        """A batcher.

        Args:
            work: does some tasks in a thread: one result each, in their order; an exception among the results
                fails only its own task.
            pool: where the threads are.
            most: tasks that are done together.
            threads: batches at work at a time.
            observe: told the size of every batch.
        """
        self._work = work
        self._pool = pool
        self._most = most
        self._idle = threads
        self._observe = observe
        self._waiting: deque[tuple[Task, asyncio.Future[Result]]] = deque()

    async def do(self, task: Task) -> Result:
        """The result of one task. Who stops waiting (a time limit, a client that left) takes it back."""
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

    def _next(self) -> list[tuple[Task, asyncio.Future[Result]]]:
        batch: list[tuple[Task, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._most:
            task, future = self._waiting.popleft()
            if not future.done():
                batch.append((task, future))
        return batch

    def _finish(
        self,
        done: asyncio.Future[Sequence[Result | Exception]],
        batch: list[tuple[Task, asyncio.Future[Result]]],
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


class Gate:
    """Lets so many requests in at a time; one more is told to come again. ``with gate: …``"""

    def __init__(self, limit: int, refused: Callable[[], None] = lambda: None) -> None:
        self.limit = limit
        self.inside = 0
        self._refused = refused

    def __enter__(self) -> None:
        if self.inside >= self.limit:
            self._refused()
            raise busy(f"{self.inside} requests are at work or waiting, which is the limit; try again soon")
        self.inside += 1

    def __exit__(self, *error: object) -> None:
        self.inside -= 1
