"""The schemas of requests and responses; FastAPI writes the OpenAPI document from them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    create_model,
    model_validator,
)
from pydantic import WithJsonSchema as Schema

from hivlp.search.query import MAX_WEIGHT, Part, beside
from hivlp.search.request import DEFAULTS, FILTERS, OPTIONS, SearchRequest

MAX_TEXT = 20_000
MAX_ID = 4_000
MAX_PARTS = 16
MAX_LIST = 10_000
_MAXIMUM = {"rerank": 100}  # images that are read and decoded for one query
_QUERY_FIELDS = ("query", "image_base64", "item", "mix")

Fields = TypeVar("Fields", bound="Strict")


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        raise ValueError(
            "not valid base64: encode the bytes of the image file, without the prefix data:"
        ) from None


def _storable(meta: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(meta, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise ValueError(
            "numbers must be finite and texts valid Unicode, so that JSON can carry them"
        ) from None
    return meta


Text = Annotated[str, Field(max_length=MAX_TEXT)]
ImageBytes = Annotated[
    bytes, BeforeValidator(_decoded), Schema({"type": "string", "format": "base64", "minLength": 1})
]
Meta = Annotated[dict[str, Any], AfterValidator(_storable)]


class Strict(BaseModel):
    """A body with exactly these fields and types."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SingleQuery(Strict):
    """Words, an image, or an item of the index: exactly one of them."""

    query: str | None = Field(default=None, max_length=MAX_TEXT, description="Words.")
    image_base64: ImageBytes | None = Field(default=None, description="An image file in base64.")
    item: str | None = Field(default=None, max_length=MAX_ID, description="The id of an item of the index.")

    def part(self, weight: float = 1.0) -> Part:
        """The same for the library."""
        return Part(text=self.query, image=self.image_base64, item=self.item, weight=weight)

    @model_validator(mode="after")
    def _is_one(self) -> SingleQuery:
        names = [name for name in _QUERY_FIELDS if name in type(self).model_fields]
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"give exactly one of {', '.join(names)}")
        return self


class MixPart(SingleQuery):
    """One part of a mix and its weight; a negative weight leads away from the part."""

    weight: float = Field(default=1.0, ge=-MAX_WEIGHT, le=MAX_WEIGHT)


class AnyQuery(SingleQuery):
    """One query: words, an image, an item, or a weighted mix of these."""

    mix: list[MixPart] | None = Field(default=None, min_length=1, max_length=MAX_PARTS)

    def parts(self) -> list[Part]:
        """The same for the library."""
        return [self.part()] if self.mix is None else [part.part(part.weight) for part in self.mix]


class SearchFields(Strict):
    """The index to search; `_with_options` adds the options of a search."""

    index: str | None = Field(default=None, description="Name of the index. [default: the first one]")

    def request(self) -> SearchRequest:
        """The options for the library. Raises QueryError where they exclude each other."""
        return SearchRequest(**{name: getattr(self, name) for name in _HTTP_OPTIONS})


_HTTP_OPTIONS = tuple(name for name, option in OPTIONS.items() if option.type is not None)


def _with_options(names: Sequence[str]) -> Callable[[type[Fields]], type[Fields]]:
    """Adds a field to a model for each of these options of `SearchRequest`, with its range and help text."""

    def extended(model: type[Fields]) -> type[Fields]:
        added: dict[str, Any] = {}
        for name in names:
            option, default = OPTIONS[name], DEFAULTS[name]
            about = Field(
                default=default,
                description=option.help,
                ge=option.least,
                gt=option.above,
                le=_MAXIMUM.get(name, option.most),
                max_length=option.max_length,
            )
            added[name] = (option.type if default is not None else option.type | None, about)
        made: Any = create_model(model.__name__, __base__=model, __module__=__name__, **added)
        made.__doc__ = model.__doc__
        return made

    return extended


@_with_options(_HTTP_OPTIONS)
class SearchParameters(SearchFields):
    """The query string of ``GET /v1/search``; words and item together are mixed."""

    q: str | None = Field(default=None, max_length=MAX_TEXT, description="Words to search for.")
    item: str | None = Field(default=None, max_length=MAX_ID, description="The id of an item to search with.")

    def parts(self) -> list[Part]:
        """The same for the library."""
        return beside([] if self.q is None else [self.q], [] if self.item is None else [Part(item=self.item)])

    @model_validator(mode="after")
    def _has_query(self) -> SearchParameters:
        if self.q is None and self.item is None:
            raise ValueError("give q (words) or item (an id)")
        return self


@_with_options(_HTTP_OPTIONS)
class SearchBody(AnyQuery, SearchFields):
    """A search of one query."""


@_with_options(_HTTP_OPTIONS)
class SearchesBody(SearchFields):
    """A search of several queries with the same options."""

    queries: list[AnyQuery] = Field(min_length=1, max_length=MAX_LIST)


@_with_options(_HTTP_OPTIONS)
class SearchForm(SearchFields):
    """The fields of a search by an uploaded image, beside the file ``image``."""

    q: str | None = Field(default=None, max_length=MAX_TEXT, description="Words, mixed with the image.")

    def parts(self, image: bytes) -> list[Part]:
        """The same for the library."""
        return beside([] if self.q is None else [self.q], [Part(image=image)])


class HitModel(BaseModel):
    """One hit of a search."""

    rank: int
    id: str
    uri: str
    kind: str
    score: float
    coarse_score: float
    coarse_rank: int
    probability: float | None
    rerank_score: float | None
    caption: str | None
    meta: dict[str, Any]
    width: int | None
    height: int | None
    similar: list[str]


class TimingsModel(BaseModel):
    """Milliseconds that a query spent in each stage, without waiting."""

    encode: float
    coarse: float
    fine: float
    rerank: float
    total: float


class AnswerModel(BaseModel):
    """The answer to one query."""

    hits: list[HitModel]
    timings_ms: TimingsModel
    plan: dict[str, Any]
    notes: list[str]
    index: str


class AnswersModel(BaseModel):
    """The answers to several queries, in their order."""

    results: list[AnswerModel]


class ItemModel(BaseModel):
    """One item of an index."""

    id: str
    uri: str
    kind: str
    caption: str | None
    meta: dict[str, Any]
    width: int | None
    height: int | None


@_with_options(FILTERS)
class ListParameters(Strict):
    """The query string of ``GET /v1/items``; `_with_options` adds the filters of a search."""

    index: str | None = Field(default=None, description="Name of the index. [default: the first one]")
    limit: int = Field(default=100, ge=1, le=1_000, description="Number of items.")
    offset: int = Field(default=0, ge=0, description="Number of items to leave out, for the next page.")

    def request(self) -> SearchRequest:
        """The filters for the library. Raises QueryError for an invalid date."""
        return SearchRequest(**{name: getattr(self, name) for name in FILTERS})


class ListModel(BaseModel):
    """Some items of an index, those added last first."""

    items: list[ItemModel]
    offset: int
    total: int = Field(description="Number of items that pass the filter.")
    next_offset: int | None = Field(description="The offset of the next page. Null after the last one.")
    index: str


class NewItem(Strict):
    """An image or a text to add."""

    id: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_ID,
        description="Id of the item. [default: made from the content]",
    )
    image_base64: ImageBytes | None = Field(default=None, description="An image file in base64.")
    text: str | None = Field(
        default=None, max_length=MAX_TEXT, description="A text, to be found by words or images."
    )
    caption: str | None = Field(default=None, max_length=MAX_TEXT, description="Caption of an image.")
    meta: Meta = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one(self) -> NewItem:
        if (self.image_base64 is None) == (self.text is None):
            raise ValueError("give exactly one of image_base64, text")
        if self.text is not None and self.caption is not None:
            raise ValueError("a text is its own caption: leave caption out")
        return self


class NewItems(Strict):
    """Items to add."""

    index: str | None = None
    items: list[NewItem] = Field(min_length=1, max_length=1_000)


class NewItemForm(Strict):
    """The fields of an uploaded image to add, beside the file ``image``."""

    index: str | None = None
    id: str | None = Field(default=None, min_length=1, max_length=MAX_ID)
    caption: str | None = Field(default=None, max_length=MAX_TEXT)
    meta: Json[Meta] = Field(default_factory=dict, description="A JSON object.")


class AddedModel(BaseModel):
    """The result of adding items."""

    ids: list[str]
    indexed: int
    replaced: int
    skipped: int
    failed: list[dict[str, str]]


class Ids(Strict):
    """Items to delete."""

    index: str | None = None
    ids: list[str] = Field(min_length=1, max_length=MAX_LIST)


class DeletedModel(BaseModel):
    """The result of deleting items."""

    deleted: int
    unknown: list[str]


class ErrorDetail(BaseModel):
    """An error: a code for programs and a message for people."""

    code: str
    message: str
    request_id: str


class ErrorModel(BaseModel):
    """The form of every error."""

    error: ErrorDetail
