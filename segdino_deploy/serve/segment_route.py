"""An image file's mask: what v2 has no word for, and therefore not under `/v2`.

As an input `encoded_image` of the v2 models it would have to be told in their metadata, and a client that used it would
need a change when it moves to Triton.
"""

from __future__ import annotations

from fastapi import APIRouter, Query, Request, Response
from starlette.exceptions import HTTPException

from segdino_deploy.errors import InputError
from segdino_deploy.manifest import HeadCard
from segdino_deploy.serve.model import OpenModel
from segdino_deploy.serve.picture import read_picture, write_mask
from segdino_deploy.serve.requests import read_body, unless_gone
from segdino_deploy.serve.routes import REFUSALS
from segdino_deploy.serve.service import Service

IMAGE = {"schema": {"type": "string", "format": "binary"}}

PARAMETERS = ("model", "head")
CURE = "send the file itself: curl --data-binary @FILE"


def create_router(service: Service) -> APIRouter:
    router = APIRouter()
    known_names = Query(None, json_schema_extra={"enum": list(service.models)})

    @router.post(
        "/v1/segment",
        response_class=Response,
        responses=REFUSALS | {200: {"content": {"image/png": IMAGE}}},
        openapi_extra={"requestBody": {"content": {"application/octet-stream": IMAGE}, "required": True}},
    )
    async def segment(request: Request, model: str | None = known_names, head: str | None = None) -> Response:
        """A PNG, JPEG, TIFF, BMP or WebP file to its mask, a PNG at the image's size with the values of `predict`.

        `model` and `head` may be left out where there is one.
        """
        _check_request(request)
        served = _model(service, model)
        card = served.runner.card
        chosen = _head(served, head)
        batcher, options = service.batchers[served.name], service.options
        run = service.decoders.run

        async def segmented(data: bytes) -> bytes:
            picture = await run(lambda: read_picture(data, card, options.max_pixels))
            outputs = await batcher.run(picture.sized)
            return await run(lambda: write_mask(outputs, chosen, picture.source_size))

        with batcher.admit():
            data = await read_body(request, service.max_request_bytes[served.name], options.body_seconds)
            if not data:
                raise InputError(f"the body is empty; {CURE}")
            png = await unless_gone(request, batcher.within(options.deadline_seconds, segmented(data)))
        return Response(png, media_type="image/png")

    return router


def _check_request(request: Request) -> None:
    """InputError for a form around the file, and for a parameter that would change nothing."""
    unknown = next((name for name in request.query_params if name not in PARAMETERS), None)
    if unknown is not None:
        raise InputError(f"no parameter {unknown[:64]!r}: there are {' and '.join(PARAMETERS)}")
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise InputError(f"the body is a form; {CURE}")


def _model(service: Service, name: str | None) -> OpenModel:
    names = list(service.models)
    if name is None and len(names) == 1:
        return service.models[names[0]]
    if name is None:
        raise InputError(f"name a model, ?model=...: there are {', '.join(names)}")
    if name not in service.models:
        raise HTTPException(404, f"no model {name[:64]!r}: there are {', '.join(names)}")
    return service.models[name]


def _head(model: OpenModel, name: str | None) -> HeadCard:
    heads = model.runner.card.heads
    if name is None and len(heads) == 1:
        return heads[0]
    chosen = next((head for head in heads if head.name == name), None)
    if chosen is None:
        names = ", ".join(head.name for head in heads if head.name) or "it has one, without a name"
        raise InputError(f"name a head of {model.name}, ?head=...: {names}")
    return chosen
