"""A progress bar for people who ask for one; it knows no task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from hivlp.errors import QueryError
from hivlp.types import Progress

if TYPE_CHECKING:
    from rich.console import Console

Shown: TypeAlias = "Progress | bool | None"
"""A function that a task calls now and then (see `types.Progress`); True for a progress bar."""


@contextmanager
def shown(progress: Shown, title: str, *, unit: str = "items") -> Iterator[Progress | None]:
    """The function that a task calls, where the caller of the library said True, a function or nothing.

    Args:
        progress: what the caller passed.
        title: what the task does, before the bar.
        unit: what it counts.

    Raises:
        QueryError: `progress` is something else.
    """
    if progress is True:
        from rich.console import Console

        with bar(title, unit=unit, console=Console(stderr=True)) as advance:
            yield advance
    elif progress is None or progress is False:
        yield None
    elif callable(progress):
        yield progress
    else:
        raise QueryError(
            f"progress={progress!r:.40} is invalid: must be True for a bar, or a function; see "
            "hivlp.types.Progress"
        )


@contextmanager
def bar(
    title: str, *, console: Console, unit: str = "items", transient: bool = False, disable: bool = False
) -> Iterator[Progress]:
    """A progress bar; yields the function that moves it.

    Args:
        title: what is done, before the bar.
        console: where it is shown, a terminal or a notebook; elsewhere only its last state is written.
        unit: what is counted.
        transient: take the bar away at the end.
        disable: show nothing.
    """
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    shown_bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]} " + unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console,
        transient=transient,
        disable=disable,
    )
    with shown_bar:
        task = shown_bar.add_task(title, total=None, count="", rate="", note="")

        def advance(line: str, done: int = 0, total: int | None = None) -> None:
            elapsed = shown_bar.tasks[0].elapsed or 0.0
            rate = f"{done / elapsed:.1f}/s" if elapsed > 0.5 else ""
            count = f"{done:,}/{total:,}" if total else f"{done:,}"
            shown_bar.update(task, completed=done, total=total, count=count, rate=rate, note=line)

        yield advance
