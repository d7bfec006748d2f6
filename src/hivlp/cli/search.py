"""``hivlp search``: one query against one index."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from hivlp.cli import output, results
from hivlp.errors import QueryError
from hivlp.search.request import DEFAULTS, FILTERS, OPTIONS

if TYPE_CHECKING:
    from hivlp.search.query import Part
    from hivlp.sheets.contact_sheet import SheetRow
    from hivlp.types import Hits

_OF_LISTS = (*FILTERS, "k", "offset", "group")
_ADDRESS = re.compile(r"(?i)(?:https?|ftp):/")

Command = TypeVar("Command", bound=Callable[..., None])


def _with_search_options(command: Command) -> Command:
    """Replaces the parameter ``**options`` of a command by the options of a search, as typer reads them."""
    signature = inspect.signature(command, eval_str=True)
    before = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    place = next(n for n, one in enumerate(before) if one.name == "model")
    options = [_parameter(name) for name, option in OPTIONS.items() if option.type is not None]
    parameters = [*before[:place], *options, *before[place:]]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[one.replace(kind=one.KEYWORD_ONLY) for one in parameters]
    )
    command.__annotations__ |= {one.name: one.annotation for one in options}
    return command


def _parameter(name: str) -> inspect.Parameter:
    """One option of a search for typer. Ranges are checked by `SearchRequest`, the same for every caller."""
    option, default = OPTIONS[name], _default(name)
    type_ = option.type if option.type in (int, float, bool) else str
    flag = option.flag or f"--{name.replace('_', '-')}"
    if type_ is bool:
        flag = f"{flag}/--no-{name}" if default else flag
        annotation = Annotated[bool, typer.Option(flag, help=option.help)]
    else:
        flags = ("-k", flag) if name == "k" else (flag,)
        value = type_ if default is not None else type_ | None
        annotation = Annotated[value, typer.Option(*flags, metavar=option.metavar, help=option.help)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _default(name: str) -> Any:
    option = OPTIONS[name]
    return DEFAULTS[name] if option.for_people is None else option.for_people


@_with_search_options
def search(
    index: Annotated[Path, typer.Argument(help="An index folder that `hivlp index` made.")],
    text: Annotated[
        str | None, typer.Argument(help="Words to search for; -word keeps away from a word.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--image", metavar="FILE", help="Search with an image, or mix it with words; may be repeated."
        ),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--item", metavar="ID", help="Search for items like this one, by id or path; may be repeated."
        ),
    ] = None,
    unwanted: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="WORDS", help="Keep away from these words; may be repeated."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Path of the model that made the index, if it has moved.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the hits as one image, such as hits.png.")
    ] = None,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
    **options: Any,
) -> None:
    """Find images and texts by words, by an image, by an item of the index, or by a mix of these.

    Without any of them, a filter (--where, --in, --from, --to, --kind) lists all items that pass it, those
    added last first.
    """
    images, items, unwanted = images or [], items or [], unwanted or []
    if options["folder"] and Path(options["folder"]).is_dir():  # as a person sees it from here
        options["folder"] = str(Path(options["folder"]).resolve())
    if text is None and not images and not items:
        _list(index, options, unwanted=unwanted, sheet=sheet, json=json)
        return

    from hivlp.data.originals import note_on_missing
    from hivlp.index.layout import looks_like_index
    from hivlp.retriever import Index

    if text is not None and looks_like_index(text) and not looks_like_index(index):
        raise QueryError(
            f"{text} is an index, and the index comes first. Did you mean: hivlp search {text} {str(index)!r}"
        )
    for image in images:
        if _ADDRESS.match(str(image)):
            raise QueryError(f"{image} is an address: save the image as a file, and give its path to --image")
    with Index.open(index, model) as opened:
        ids = [results.id_of(opened.store, item) for item in items]
        hits = opened.search(_parts(text, images, ids, unwanted), **options)
    missing = note_on_missing(hits, index)
    for note in (*_hints(index, text), *hits.notes, *([missing] if missing else [])):
        output.say(note)
    document = hits.as_dict()
    if sheet is not None:
        from hivlp.sheets.contact_sheet import contact_sheet, save

        save(contact_sheet(_rows(hits, text, ids, images), subtitle=str(index)), sheet)
        document["contact_sheet"] = str(sheet)
        output.say(f"drew the hits as {sheet}")
    output.answer(document, json=json, human=lambda console: results.show_hits(console, hits))


def _list(
    index: Path, options: dict[str, Any], *, unwanted: list[str], sheet: Path | None, json: bool
) -> None:
    """Prints the items that pass a filter; without a filter, what a search needs."""
    from hivlp.search.request import SearchRequest
    from hivlp.stores.local import LocalStore

    request = SearchRequest(**options)
    if request.filter is None and request.kind is None:
        raise QueryError(
            "give words, --image FILE or --item ID to search with, or several of these to mix; or a filter "
            "alone (--where, --in, --from, --to, --kind), to list what passes it"
        )
    useless = [
        OPTIONS[name].flag or f"--{name.replace('_', '-')}"
        for name in options
        if options[name] != _default(name) and name not in _OF_LISTS
    ]
    useless += ["--not"] * bool(unwanted) + ["--sheet"] * (sheet is not None)
    if useless:
        raise QueryError(
            f"{useless[0]} needs something to search with: give words, --image FILE or --item ID, or leave "
            f"{useless[0]} out"
        )
    with LocalStore.open(index) as store:
        listing = store.listed(
            offset=request.offset, limit=request.k, where=request.filter, kind=request.kind
        )
    document = {
        "items": [asdict(item) | {"meta": dict(item.meta)} for item in listing.items],
        "offset": listing.offset,
        "total": listing.total,
        "next_offset": listing.next_offset,
    }
    output.answer(document, json=json, human=lambda console: results.show_items(console, listing))


def _hints(index: Path, text: str | None) -> Iterator[str]:
    """What a person may have meant by words that are a file."""
    with suppress(OSError, ValueError):  # too long, or with a null character
        if text is not None and Path(text).is_file():
            yield (
                f"{text} is a file, and its name was searched as words. To search with the image: "
                f"hivlp search {index} --image {text!r}"
            )


def _parts(text: str | None, images: list[Path], items: list[str], unwanted: list[str]) -> list[Part]:
    from hivlp.search.query import Part, beside, parts_of

    words = [] if text is None else parts_of(text)
    wanted = [part.text for part in words if part.text and part.weight > 0]
    away = [part.text for part in words if part.text and part.weight < 0]
    others = [*(Part(image=image) for image in images), *(Part(item=item) for item in items)]
    return beside(wanted, others, [*away, *unwanted])


def _rows(hits: Hits, text: str | None, items: list[str], images: list[Path]) -> list[SheetRow]:
    """All hits as rows of a sheet; the query image comes before the first ones."""
    from hivlp.sheets.contact_sheet import SheetLayout, SheetRow

    image = images[0] if images else None
    columns = SheetLayout().columns
    first = columns - (image is not None)
    words = [] if text is None else [text]
    query = " + ".join([*words, *items, *(path.name for path in images)])
    rows = [SheetRow(query=query, hits=replace(hits, hits=hits.hits[:first]), picture=image)]
    for start in range(first, len(hits), columns):
        some = hits.hits[start : start + columns]
        rows.append(SheetRow(query=f"hits {start + 1} to {start + len(some)}", hits=replace(hits, hits=some)))
    return rows
