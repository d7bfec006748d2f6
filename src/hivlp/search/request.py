"""What a search is given besides its query; it encodes and searches nothing.

An option is declared once, as a field of `SearchRequest`: keyword arguments of `Index.search`, options of
``hivlp search`` and fields of the HTTP API are made from it. Importing this module loads no numpy, so the
command line can print its help quickly.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import wraps
from numbers import Integral, Real
from textwrap import fill
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar

from hivlp.errors import OptionError, QueryError
from hivlp.messages import suggestion

if TYPE_CHECKING:
    from hivlp.match import MatchModel
    from hivlp.search.plan import Plan
    from hivlp.types import Hit, Hits

Caller = TypeVar("Caller")
Queried = TypeVar("Queried")
Found = TypeVar("Found")
Parameters = ParamSpec("Parameters")

KindOfItem: TypeAlias = Literal["image", "text"]
Order: TypeAlias = Literal["score", "date"]

_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])(T\d\d:\d\d(:\d\d)?)?)?)?")
_SORTED = 1_000  # hits that reach a lowest score, of which the newest are wanted


@dataclass(frozen=True, kw_only=True)
class Option:
    """How one option of a search is described and bounded, wherever it is given.

    Attributes:
        type: of a value on the command line and over HTTP: ``int``, ``float``, ``bool``, ``str`` or a
            ``Literal``; None for an option of Python only.
        help: one sentence.
        metavar: what the command line calls a value.
        least, most: lowest and highest allowed number.
        above: a number must be greater than this.
        max_length: characters of a text.
        why: the reason of the range, for the message.
        for_people: the default on the command line, where it differs from that of programs.
        flag: the option of the command line, where it is not the name.
    """

    type: Any
    help: str
    metavar: str = "NUMBER"
    least: float | None = None
    above: float | None = None
    most: float | None = None
    max_length: int | None = None
    why: str = ""
    for_people: Any = None
    flag: str | None = None

    def check(self, name: str, value: object) -> None:
        """Raises QueryError where a value has the wrong type or is out of range."""
        if self.type is int and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise QueryError(f"{name}={value!r} is invalid: must be a whole number")
        if self.type is float and (isinstance(value, bool) or not isinstance(value, Real)):
            raise QueryError(f"{name}={value!r} is invalid: must be a number")
        if self.type is str and not isinstance(value, str):
            raise QueryError(f"{name}={value!r} is invalid: must be text")
        if isinstance(value, Real) and self.type in (int, float) and not self._is_in_range(value):
            raise QueryError(f"{name}={value} is invalid: {self.why}must be {self._range()}")

    def _is_in_range(self, value: Any) -> bool:
        # written so that NaN is outside of every range
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )

    def _range(self) -> str:
        if self.most is None:
            return f"at least {self.least:g}"
        if self.least is None:
            return f"above {self.above:g} and at most {self.most:g}"
        return f"between {self.least:g} and {self.most:g}"


def _option(type_: Any, help_: str, **more: Any) -> dict[str, Option]:
    """The metadata of a field of `SearchRequest`."""
    return {"option": Option(type=type_, help=help_, **more)}


@dataclass(frozen=True)
class SearchRequest:
    """The options of one search, checked when they are put together.

    ``candidates``, ``exact``, ``recall`` and ``plan`` exclude each other; without any of them the index
    chooses its plan. The help texts below are those of the command line and of the HTTP API; Python also
    takes ``candidates="all"``, which is ``exact``.

    Raises:
        QueryError: a value of the wrong type or out of range, or options that exclude each other.
        FilterError: ``where`` can't be parsed.
    """

    k: int = field(default=10, metadata=_option(int, "Number of hits.", least=1))
    _: KW_ONLY
    offset: int = field(
        default=0, metadata=_option(int, "Number of best hits to leave out, for the next page.", least=0)
    )
    candidates: int | Literal["all"] | None = field(
        default=None,
        metadata=_option(int, "Number of items that the coarse level passes to the fine level.", least=1),
    )
    exact: bool = field(default=False, metadata=_option(bool, "Score every item at the finest level."))
    recall: float | None = field(
        default=None,
        metadata=_option(
            float,
            "Use the fastest plan that `hivlp tune` measured to keep this recall, such as 0.95.",
            above=0,
            most=1,
        ),
    )
    plan: Plan | None = field(default=None, metadata=_option(None, "The whole plan of the search."))
    min_score: float | None = field(
        default=None,
        metadata=_option(
            float,
            "Keep only hits with at least this score, between -1 and 1.",
            least=-1,
            most=1,
            why="scores are cosines, so it ",
        ),
    )
    min_probability: float | None = field(
        default=None,
        metadata=_option(
            float,
            "Keep only images that match the words with at least this probability. Needs a model that "
            "estimates matches, or an index tuned with captions.",
            least=0,
            most=1,
        ),
    )
    where: str | None = field(
        default=None,
        metadata=_option(
            str,
            "Only items that pass a filter, such as \"color = 'red' and price < 20\".",
            metavar="FILTER",
            max_length=4_000,
        ),
    )
    kind: KindOfItem | None = field(
        default=None, metadata=_option(KindOfItem, "Only items of this kind.", metavar="image|text")
    )
    folder: str | None = field(
        default=None,
        metadata=_option(
            str,
            "Only items in this folder: a whole path, or one below the indexed folder, such as 2021/rome.",
            metavar="FOLDER",
            max_length=1_000,
            flag="--in",
        ),
    )
    since: str | None = field(
        default=None,
        metadata=_option(
            str,
            "Only images taken on this day or later: 2021, 2021-06 or 2021-06-15.",
            metavar="DATE",
            max_length=30,
            flag="--from",
        ),
    )
    until: str | None = field(
        default=None,
        metadata=_option(
            str,
            "Only images taken up to the end of this day, month or year.",
            metavar="DATE",
            max_length=30,
            flag="--to",
        ),
    )
    sort: Order = field(
        default="score",
        metadata=_option(
            Order,
            "Order of the hits: the best first, or the newest first among those that reach --min-score or "
            "--min-probability.",
            metavar="score|date",
        ),
    )
    rerank: int | None = field(
        default=None,
        metadata=_option(
            int,
            "Score this many of the best hits again, words and image together, with the fusion head of the "
            "model.",
            least=1,
        ),
    )
    group: bool = field(
        default=False,
        metadata=_option(bool, "Show near-equal images, such as a burst, as one hit.", for_people=True),
    )
    spell: bool = field(
        default=False,
        metadata=_option(bool, "Correct words that the model does not know to the nearest that it knows."),
    )
    without: Collection[str] = field(
        default=frozenset(), metadata=_option(None, "Ids of items that the search leaves out.")
    )

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            if value is not None and not (name == "candidates" and value == "all"):
                option.check(name, value)
        if self.kind not in (None, "image", "text"):
            raise QueryError(f"kind={self.kind!r} is invalid: must be image or text, or left out for both")
        if self.sort not in ("score", "date"):
            raise QueryError(f"sort={self.sort!r} is invalid: must be score or date")
        for name in ("since", "until"):
            if getattr(self, name) is not None and not _DATE.fullmatch(getattr(self, name)):
                raise QueryError(
                    f"{name}={getattr(self, name)!r} is invalid: must be a date such as 2021, 2021-06 or "
                    "2021-06-15"
                )
        if self.since and self.until and self.since > _end(self.until):
            raise QueryError(f"since={self.since} is after until={self.until}: no image can be in between")
        without: Any = self.without
        if isinstance(without, str) or not isinstance(without, Iterable):  # letters are no ids
            raise QueryError(f"without={without!r:.40} is invalid: must be a list of ids")
        if self.plan is not None and not hasattr(self.plan, "rerank"):
            raise QueryError(
                f"plan={self.plan!r:.40} is invalid: must be a hivlp.Plan, such as Plan(candidates=200)"
            )
        object.__setattr__(self, "without", frozenset(self.without))
        given = [name for name in ("candidates", "exact", "recall", "plan") if getattr(self, name)]
        if len(given) > 1:
            raise QueryError(f"{' and '.join(given)} exclude each other: give one of them")
        if self.rerank is not None and self.rerank < self.offset + self.k:
            wanted = f"k={self.k}" + (f" and offset={self.offset} together" if self.offset else "")
            raise QueryError(
                f"rerank={self.rerank} is less than {wanted}: re-rank at least as many hits as are wanted"
            )
        if self.where is not None:
            from hivlp.index.where import parse

            parse(self.where)

    def leaving_out(self, ids: Collection[str]) -> SearchRequest:
        """The same request, which also leaves out these items."""
        return replace(self, without=frozenset(self.without).union(ids)) if ids else self

    def check_query(self, *, words: bool) -> None:
        """Raises QueryError where an option needs a query of words alone and the query has something else."""
        if words:
            return
        if self.min_probability is not None:
            raise QueryError(
                f"min_probability={self.min_probability:g} is only for searches by words: it says how well "
                "an image matches them. Leave it out, or use min_score (--min-score)."
            )
        if self.rerank is not None:
            raise QueryError(
                f"rerank={self.rerank} is only for searches by words: the fusion head reads words and image "
                "together. Leave it out."
            )

    @property
    def depth(self) -> int:
        """How many of the best hits must be found, those that are left out included."""
        return max(self.offset + self.k, _SORTED if self._sorts_all else 0)

    @property
    def _sorts_all(self) -> bool:
        """Whether all that reach a lowest score are sorted by date, rather than the best of them."""
        return self.sort == "date" and (self.min_score is not None or self.min_probability is not None)

    @property
    def filter(self) -> str | None:
        """The filter of folder, dates and ``where`` together; None lets every item pass."""
        parts = [] if self.where is None else [f"({self.where})"]
        parts += [] if self.since is None else [f"taken_at >= '{self.since}'"]
        parts += [] if self.until is None else [f"taken_at <= '{_end(self.until)}'"]
        if self.folder is not None:
            below = _below(self.folder)
            parts.append(f"(id like '{below}' or uri like '{below}')")
        return " and ".join(parts) or None

    @property
    def fixed_plan(self) -> Plan | None:
        """The plan that the options fix; None leaves the choice to the index."""
        from hivlp.search.plan import Plan

        if self.exact or self.candidates == "all":
            return Plan(name="exact", candidates="all")
        return self.plan if self.candidates is None else Plan(candidates=self.candidates)

    @property
    def searched_kind(self) -> str | None:
        """The kind to search: only images have a probability, so texts must not take their places."""
        return "image" if self.kind is None and self.min_probability is not None else self.kind

    def select(self, hits: Hits, match: MatchModel | None) -> Hits:
        """The hits from ``offset`` on that reach ``min_score`` and ``min_probability``, with probabilities.

        Args:
            hits: the best ``depth`` hits, as the store gave them.
            match: how scores become probabilities; None leaves the hits without.
        """
        if match is not None:
            hits = replace(hits, hits=tuple(_with_probability(hit, match) for hit in hits))
        passed = tuple(hit for hit in hits if self._passes(hit))
        if self._sorts_all:
            passed = _newest_first(passed)
        notes = hits.notes if passed or not hits.hits else (*hits.notes, self._best_below(hits))
        if self.offset and self.offset >= len(passed) > 0:
            notes = (*notes, f"offset={self.offset} leaves out all hits; there are {len(passed)}")
        page = passed[self.offset : self.offset + self.k]
        if self.sort == "date":
            page = _newest_first(page, first=self.offset + 1)
        return replace(hits, hits=page, notes=notes)

    def _passes(self, hit: Hit) -> bool:
        if self.min_score is not None and hit.score < self.min_score:
            return False
        return self.min_probability is None or (hit.probability or 0.0) >= self.min_probability

    def _best_below(self, hits: Hits) -> str:
        # The best is rounded downwards, so that it never looks like enough.
        if self.min_score is not None and all(hit.score < self.min_score for hit in hits):
            best = math.floor(max(hit.score for hit in hits) * 1000) / 1000
            return f"nothing scored at least {self.min_score:g}; the best score was {best:.3f}"
        scored = [hit for hit in hits if self.min_score is None or hit.score >= self.min_score]
        best = math.floor(max(hit.probability or 0.0 for hit in scored) * 1000) / 1000
        return (
            f"nothing found: no image matches with a probability of at least {self.min_probability:g}; the "
            f"best had {best:.3f}"
        )


def _end(date: str) -> str:
    """A text behind all moments of a year, month, day or minute, in the order of texts."""
    return f"{date}~"


def _below(folder: str) -> str:
    """The pattern of ``like`` for everything in a folder, as the text of a filter."""
    path = folder.replace("\\", "/").removeprefix("./").rstrip("/")
    for mark in ("%", "_"):
        path = path.replace(mark, f"\\{mark}")
    return "%" if path in ("", ".") else f"{path}/%".replace("'", "''")


def _newest_first(hits: tuple[Hit, ...], *, first: int = 1) -> tuple[Hit, ...]:
    """Hits by the moment in their metadata, those without one last in the order that they had."""
    moments = [str(hit.meta.get("taken_at") or "") for hit in hits]
    order = sorted(range(len(hits)), key=lambda place: moments[place], reverse=True)
    return tuple(replace(hits[place], rank=rank) for rank, place in enumerate(order, start=first))


OPTIONS: Mapping[str, Option] = {
    declared.name: declared.metadata["option"] for declared in fields(SearchRequest)
}
"""Every option of a search by its name."""
FILTERS = ("where", "kind", "folder", "since", "until")
"""The options that say which items count; a list of items without a search takes them too."""
DEFAULTS: Mapping[str, Any] = {declared.name: declared.default for declared in fields(SearchRequest)}
"""The value of every option that is not given."""


OPTIONS_HERE = "{options}"
"""What stands in the docstring of a method where the options of a search belong."""


def _described() -> str:
    """Every option with its help and its default, as lines of a docstring."""
    lines = list[str]()
    for name, option in OPTIONS.items():
        default = DEFAULTS[name]
        usual = "" if not default else f" Default: {default}."
        text = f"{name}: {option.help}{usual}"
        lines.append(fill(text, 100, initial_indent="    ", subsequent_indent="        "))
    return "\n".join(lines).lstrip()


def _accepting(
    make: Callable[Parameters, SearchRequest],
) -> Callable[
    [Callable[[Caller, Queried, SearchRequest], Found]],
    Callable[Concatenate[Caller, Queried, Parameters], Found],
]:
    def decorate(
        method: Callable[[Caller, Queried, SearchRequest], Found],
    ) -> Callable[Concatenate[Caller, Queried, Parameters], Found]:
        @wraps(method)
        def call(
            self: Caller, query: Queried, /, *args: Parameters.args, **options: Parameters.kwargs
        ) -> Found:
            for name in options:
                if name not in OPTIONS:
                    raise OptionError(f"a search has no option {name!r}: {suggestion(name, list(OPTIONS))}")
            return method(self, query, make(*args, **options))

        own, options = inspect.signature(method), inspect.signature(make)
        first = [parameter.replace(kind=parameter.POSITIONAL_ONLY) for parameter in own.parameters.values()]
        call.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[*first[:2], *options.parameters.values()]
        )
        call.__doc__ = inspect.cleandoc(method.__doc__ or "").replace(OPTIONS_HERE, _described())
        return call

    return decorate


takes_search_options = _accepting(SearchRequest)
"""Makes a method ``(self, query, request)`` one that takes the options of a search as keyword arguments.

Type checkers and ``help()`` see the fields of `SearchRequest` as its parameters.
"""


def _with_probability(hit: Hit, match: MatchModel) -> Hit:
    return replace(hit, probability=match.probability(hit.score)) if hit.kind == "image" else hit
