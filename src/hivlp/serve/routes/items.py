"""``/v1/items``: items of an index and their images, adding and deleting."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from fastapi import APIRouter, Path, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from hivlp.serve.problems import Problem
from hivlp.serve.routes.bodies import (
    FORM,
    JSON,
    as_json,
    body_of,
    checked,
    errors,
    media_type,
    query_of,
    read_form,
    read_json,
    wrong_type,
)
from hivlp.serve.schemas import (
    MAX_ID,
    AddedModel,
    DeletedModel,
    Ids,
    ItemModel,
    ListModel,
    ListParameters,
    NewItem,
    NewItemForm,
    NewItems,
)
from hivlp.serve.service import Service
from hivlp.serve.uploads import Upload
from hivlp.types import Item

Id = Annotated[str, Path(max_length=MAX_ID, description="The id of an item; it may contain slashes.")]
Name = Annotated[str | None, Query(description="Name of the index. [default: the first one]")]
Side = Annotated[
    Literal["160", "320", "640", "1280"], Query(description="Length of the longer side in pixels.")
]

_IMAGES: dict[int | str, Any] = {
    200: {
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        "description": "The image.",
    },
    304: {"description": "The image that the client has is up to date."},
}
# A browser revalidates each time, and gets a 304: the id may have another image by now.
_CACHE = "private, no-cache"


class _ByRawPath(APIRoute):
    """A route matched by the undecoded path, in which %2F belongs to an id.

    Otherwise ``a%2Fthumbnail`` (the item ``a/thumbnail``) would be the same as ``a/thumbnail`` (of item
    ``a``).
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        match, child = super().matches({**scope, "path": raw.decode("ascii")})
        if match is not Match.NONE:
            child["path_params"] = {key: unquote(value) for key, value in child["path_params"].items()}
        return match, child


def router(service: Service) -> APIRouter:
    """The routes over one service."""
    routes = APIRouter(tags=["items"], route_class=_ByRawPath)

    @routes.get(
        "/v1/items/{item_id:path}/thumbnail",
        response_class=Response,
        responses=_IMAGES | errors(404, 410, 504),
    )
    async def thumbnail(request: Request, item_id: Id, index: Name = None, size: Side = "320") -> Response:
        """A small JPEG of the item's image."""
        served = service.find(index)
        item = await service.item(served, item_id)
        headers = {"ETag": f'"{item.sha256}-{size}"', "Cache-Control": _CACHE}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        data = await service.in_time(lambda: service.thumbnail(served, item, int(size)))
        return Response(data, media_type="image/jpeg", headers=headers)

    @routes.get(
        "/v1/items/{item_id:path}/original",
        response_class=Response,
        responses=_IMAGES | errors(404, 410, 504),
    )
    async def original(request: Request, item_id: Id, index: Name = None) -> Response:
        """The item's image as it was indexed."""
        served = service.find(index)
        item = await service.item(served, item_id)
        headers = {"ETag": f'"{item.sha256}"', "Cache-Control": _CACHE}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        data, kind = await service.in_time(lambda: service.original(served, item))
        return Response(data, media_type=kind, headers=headers)

    @routes.get("/v1/items/{item_id:path}", response_model=ItemModel, responses=errors(404))
    async def item(item_id: Id, index: Name = None) -> Response:
        """The facts of an item."""
        return as_json(_facts(await service.item(service.find(index), item_id)))

    @routes.get(
        "/v1/items",
        response_model=ListModel,
        responses=errors(404, 504),
        openapi_extra=query_of(ListParameters),
    )
    async def listed(request: Request) -> Response:
        """The items of an index, or those that pass a filter, page by page; those added last come first."""
        wanted = checked(ListParameters, request.query_params)
        served, filters = service.find(wanted.index), wanted.request()
        listing = await service.in_time(
            lambda: service.listed(
                served,
                offset=wanted.offset,
                limit=wanted.limit,
                where=filters.filter,
                kind=filters.kind,
            )
        )
        return as_json(
            {
                "items": [_facts(item) for item in listing.items],
                "offset": listing.offset,
                "total": listing.total,
                "next_offset": listing.next_offset,
                "index": served.name,
            }
        )

    @routes.post(
        "/v1/items",
        response_model=AddedModel,
        responses=errors(404, 408, 413, 415, 504),
        openapi_extra=body_of(NewItems, form=NewItemForm),
    )
    async def add(request: Request) -> Response:
        """Adds images and texts. On return they are durable, and searches find them."""
        kind = media_type(request)
        if kind == FORM:
            image, fields = await read_form(request)
            form = checked(NewItemForm, fields)
            name, uploads = form.index, [_of_form(form, image)]
        elif kind == JSON:
            body = await read_json(request, NewItems)
            name, uploads = body.index, [_of_json(new) for new in body.items]
        else:
            raise wrong_type(request, JSON, FORM)
        for upload in uploads:
            if upload.image is not None and len(upload.image) > service.settings.max_image_bytes:
                raise Problem(
                    413,
                    "too_large",
                    f"an image has {len(upload.image):,} bytes; the limit is "
                    f"{service.settings.max_image_bytes:,}",
                )
        added = await service.in_time(lambda: service.add(service.find(name), uploads))
        return as_json(added.as_dict())

    @routes.delete(
        "/v1/items",
        response_model=DeletedModel,
        responses=errors(404, 408, 413, 415, 504),
        openapi_extra=body_of(Ids),
    )
    async def delete_several(request: Request) -> Response:
        """Removes items by their ids; the answer names unknown ids."""
        body = await read_json(request, Ids)
        unknown = await service.in_time(lambda: service.delete(service.find(body.index), body.ids))
        return as_json({"deleted": len(set(body.ids)) - len(unknown), "unknown": unknown})

    @routes.delete("/v1/items/{item_id:path}", response_model=DeletedModel, responses=errors(404, 504))
    async def delete(item_id: Id, index: Name = None) -> Response:
        """Removes one item."""
        served = service.find(index)
        if await service.in_time(lambda: service.delete(served, [item_id])):
            raise Problem(404, "not_found", f"the index {served.name!r} has no item {item_id!r}")
        return as_json({"deleted": 1, "unknown": []})

    return routes


def _facts(item: Item) -> dict[str, Any]:
    facts = ("id", "uri", "kind", "caption", "width", "height")
    return {**{name: getattr(item, name) for name in facts}, "meta": dict(item.meta)}


def _of_json(new: NewItem) -> Upload:
    return Upload(name=new.id, image=new.image_base64, text=new.text, caption=new.caption, meta=new.meta)


def _of_form(form: NewItemForm, image: bytes) -> Upload:
    return Upload(name=form.id, image=image, caption=form.caption, meta=form.meta)
