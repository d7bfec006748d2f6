"""The schemas of the routes that clients of OpenAI's API know: embeddings and models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator
from pydantic import WithJsonSchema as Schema

from hivlp.serve.schemas import MAX_LIST, MAX_TEXT, ImageBytes, Strict, Text


class EmbeddingInput(Strict):
    """A text or an image to embed."""

    text: Text | None = None
    image_base64: ImageBytes | None = None

    @model_validator(mode="after")
    def _is_one(self) -> EmbeddingInput:
        if (self.image_base64 is None) == (self.text is None):
            raise ValueError("give exactly one of text, image_base64")
        return self


def _as_inputs(value: object) -> object:
    """One input or several as a list of objects; the union of pydantic would tell of its own classes."""
    several: list[object] = value if isinstance(value, list) else [value]
    return [_as_input(one) for one in several]


def _as_input(value: object) -> object:
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, (int, list)) and not isinstance(value, bool):
        raise ValueError(
            "token numbers are not understood, since every model has its own: send the texts themselves "
            "(LangChain: check_embedding_ctx_length=False)"
        )
    if not isinstance(value, (dict, EmbeddingInput)):
        raise ValueError("must be a text, an object with text or image_base64, or a list of these")
    return value


_ONE_INPUT = {"anyOf": [{"type": "string", "maxLength": MAX_TEXT}, EmbeddingInput.model_json_schema()]}
_INPUTS = {"anyOf": [*_ONE_INPUT["anyOf"], {"type": "array", "items": _ONE_INPUT, "maxItems": MAX_LIST}]}


class EmbeddingsBody(Strict):
    """The body of ``POST /v1/embeddings``, compatible with OpenAI's, with images added."""

    input: Annotated[
        list[EmbeddingInput], Field(max_length=MAX_LIST), BeforeValidator(_as_inputs), Schema(_INPUTS)
    ]
    model: str | None = Field(
        default=None, description="Name of the model of one of the indexes. [default: that of the first]"
    )
    dimensions: int | None = Field(default=None, ge=1, description="A trained width. [default: the widest]")
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None


class EmbeddingModel(BaseModel):
    """One embedding: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class UsageModel(BaseModel):
    """Present for OpenAI clients; tokens are not counted, so both are 0."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class EmbeddingsModel(BaseModel):
    """The answer of ``POST /v1/embeddings``."""

    object: Literal["list"] = "list"
    data: list[EmbeddingModel]
    model: str
    usage: UsageModel = UsageModel()


class ModelCard(BaseModel):
    """A model of the service, in OpenAI's form, with the widths of its embeddings."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(default=0, description="Present for OpenAI clients; always 0.")
    owned_by: str = "hivlp"
    dimensions: list[int]


class ModelsModel(BaseModel):
    """The models of the service."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
