"""The bodies of requests and answers; FastAPI writes the OpenAPI document from them."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Json, model_validator
from pydantic import WithJsonSchema as Schema

from hivlp.index.where import MAX_LENGTH
from hivlp.search.query import MAX_WEIGHT, Part
from hivlp.search.request import SearchOptions

MAX_TEXT = 20_000
MAX_ID = 4_000
MAX_PARTS = 16
MAX_RERANK = 100  # pictures that are read and decoded for one query
_THINGS = ("query", "image_base64", "item", "mix")
MAX_THINGS = 10_000


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        raise ValueError(
            "this is not base64; send the bytes of the picture file, without data: before"
        ) from None


def _storable(meta: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(meta, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise ValueError(
            "numbers must be finite and texts Unicode, so that every answer can hold them"
        ) from None
    return meta


Text = Annotated[str, Field(max_length=MAX_TEXT)]
Picture = Annotated[
    bytes, BeforeValidator(_decoded), Schema({"type": "string", "format": "base64", "minLength": 1})
]
Meta = Annotated[dict[str, Any], AfterValidator(_storable)]


class Strict(BaseModel):
    """A body whose names and types are exactly these."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class OneThing(Strict):
    """Words, a picture, or an item of the index: exactly one of them."""

    query: str | None = Field(default=None, max_length=MAX_TEXT, description="Words.")
    image_base64: Picture | None = Field(default=None, description="A picture file in base64.")
    item: str | None = Field(default=None, max_length=MAX_ID, description="The id of an item of the index.")

    def part(self, weight: float = 1.0) -> Part:
        """What the library takes."""
        return Part(text=self.query, image=self.image_base64, item=self.item, weight=weight)

    @model_validator(mode="after")
    def _is_one(self) -> OneThing:
        names = [name for name in _THINGS if name in type(self).model_fields]
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"give exactly one of {', '.join(names)}")
        return self


class MixPart(OneThing):
    """One part of a mix and how much it counts; a negative weight leads away from it."""

    weight: float = Field(default=1.0, ge=-MAX_WEIGHT, le=MAX_WEIGHT)


class OneQuery(OneThing):
    """One query: words, a picture, an item, or a weighted mix of these."""

    mix: list[MixPart] | None = Field(default=None, min_length=1, max_length=MAX_PARTS)

    def parts(self) -> list[Part]:
        """What the library takes."""
        return [self.part()] if self.mix is None else [part.part(part.weight) for part in self.mix]


class Options(Strict):
    """What a search may be asked besides its query; see ``hivlp.search.request.SearchOptions``."""

    k: int = Field(default=10, ge=1, description="How many hits.")
    index: str | None = Field(default=None, description="Name of the index; the first one without.")
    candidates: int | None = Field(default=None, ge=1, description="Rows that the coarse level hands on.")
    exact: bool = Field(default=False, description="Score every item at the finest level.")
    recall: float | None = Field(
        default=None, gt=0, le=1, description="Take a plan measured to keep this recall."
    )
    min_score: float | None = Field(default=None, ge=-1, le=1, description="Least cosine of a hit.")
    min_probability: float | None = Field(
        default=None, ge=0, le=1, description="Least probability that a hit is a match."
    )
    where: str | None = Field(
        default=None, max_length=MAX_LENGTH, description="A filter, such as color = 'red' and price < 20."
    )
    kind: Literal["image", "text"] | None = Field(default=None, description="Only items of this kind.")
    rerank: int | None = Field(
        default=None,
        ge=1,
        le=MAX_RERANK,
        description="Score so many of the best anew, with the words.",
    )

    def options(self) -> SearchOptions:
        """What the library takes."""
        return {
            "candidates": self.candidates,
            "exact": self.exact,
            "recall": self.recall,
            "min_score": self.min_score,
            "min_probability": self.min_probability,
            "where": self.where,
            "kind": self.kind,
            "rerank": self.rerank,
        }


class SearchParameters(Options):
    """The query string of ``GET /v1/search``; with both, words and item are mixed in equal parts."""

    q: str | None = Field(default=None, max_length=MAX_TEXT, description="Words to look for.")
    item: str | None = Field(default=None, max_length=MAX_ID, description="The id of an item to look alike.")

    def parts(self) -> list[Part]:
        """What the library takes."""
        words = [] if self.q is None else [Part(text=self.q)]
        return words + ([] if self.item is None else [Part(item=self.item)])

    @model_validator(mode="after")
    def _asks_something(self) -> SearchParameters:
        if self.q is None and self.item is None:
            raise ValueError("give q (words) or item (an id)")
        return self


class SearchBody(OneQuery, Options):
    """A search of one query."""


class SearchesBody(Options):
    """A search of several queries with the same options."""

    queries: list[OneQuery] = Field(min_length=1, max_length=MAX_THINGS)


class SearchForm(Options):
    """The fields beside the file ``image`` of a search by an uploaded picture."""

    q: str | None = Field(default=None, max_length=MAX_TEXT, description="Words, mixed with the picture.")


class HitModel(BaseModel):
    """One answer to a query."""

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


class TimingsModel(BaseModel):
    """Milliseconds that a query spent in each stage, waiting not counted."""

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


class NewItem(Strict):
    """A picture or a text to add."""

    id: str | None = Field(
        default=None, min_length=1, max_length=MAX_ID, description="Made of the content without."
    )
    image_base64: Picture | None = Field(default=None, description="A picture file in base64.")
    text: str | None = Field(
        default=None, max_length=MAX_TEXT, description="A text to find by words or pictures."
    )
    caption: str | None = Field(default=None, max_length=MAX_TEXT, description="Of a picture.")
    meta: Meta = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one(self) -> NewItem:
        if (self.image_base64 is None) == (self.text is None):
            raise ValueError("give exactly one of image_base64, text")
        if self.text is not None and self.caption is not None:
            raise ValueError("a text is its own caption; leave caption out")
        return self


class NewItems(Strict):
    """Items to add."""

    index: str | None = None
    items: list[NewItem] = Field(min_length=1, max_length=1_000)


class NewItemForm(Strict):
    """The fields beside the file ``image`` of an uploaded picture to add."""

    index: str | None = None
    id: str | None = Field(default=None, min_length=1, max_length=MAX_ID)
    caption: str | None = Field(default=None, max_length=MAX_TEXT)
    meta: Json[Meta] = Field(default_factory=dict, description="A JSON object.")


class AddedModel(BaseModel):
    """What became of the items to add."""

    ids: list[str]
    indexed: int
    replaced: int
    skipped: int
    failed: list[dict[str, str]]


class Ids(Strict):
    """Items to delete."""

    index: str | None = None
    ids: list[str] = Field(min_length=1, max_length=MAX_THINGS)


class DeletedModel(BaseModel):
    """What was deleted."""

    deleted: int
    unknown: list[str]


class EmbeddingInput(Strict):
    """One thing to embed, where it is no plain text."""

    text: Text | None = None
    image_base64: Picture | None = None

    @model_validator(mode="after")
    def _is_one(self) -> EmbeddingInput:
        if (self.image_base64 is None) == (self.text is None):
            raise ValueError("give exactly one of text, image_base64")
        return self


class EmbeddingsBody(Strict):
    """The body of ``POST /v1/embeddings``, after OpenAI's, with pictures."""

    input: Text | EmbeddingInput | Annotated[list[Text | EmbeddingInput], Field(max_length=MAX_THINGS)]
    model: str | None = Field(default=None, description="Name of a model that one of the indexes uses.")
    dimensions: int | None = Field(default=None, ge=1, description="A trained width; the widest without.")
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None

    def inputs(self) -> list[EmbeddingInput]:
        """All things to embed."""
        several = self.input if isinstance(self.input, list) else [self.input]
        return [EmbeddingInput(text=thing) if isinstance(thing, str) else thing for thing in several]


class EmbeddingModel(BaseModel):
    """One embedding: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class UsageModel(BaseModel):
    """There for clients that look for it: tokens are not counted, so both are 0."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class EmbeddingsModel(BaseModel):
    """The answer of ``POST /v1/embeddings``."""

    object: Literal["list"] = "list"
    data: list[EmbeddingModel]
    model: str
    usage: UsageModel = UsageModel()


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str
    message: str
    request_id: str


class ErrorModel(BaseModel):
    """The one form of error."""

    error: ErrorDetail
