"""The v2 protocol's endpoints, and the metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import segdino_deploy
from segdino_deploy.engines.tensorrt.tensors import Tensor, input_tensor, output_tensors
from segdino_deploy.manifest import ModelCard
from segdino_deploy.serve.model import OpenModel
from segdino_deploy.serve.requests import read_body, unless_gone
from segdino_deploy.serve.service import Service
from segdino_deploy.serve.wire import HEADER_LENGTH, InferResponse, parse_request, request_schema, write_response
from segdino_deploy.triton.runner import DATA_TYPES

EXTENSIONS = ["binary_tensor_data", "model_configuration"]
NO_STATISTICS = "statistics are not supported: /metrics has counts and times, for Prometheus"
NOT_READY = 400  # as Triton's
PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}  # as Triton's, which has none for others
Find = Callable[..., Awaitable[OpenModel]]


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """`shape`: -1 where any length goes."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelConfiguration(BaseModel):
    """`max_batch_size`: 0 where the batch is fixed, as in Triton."""

    name: str
    backend: str
    max_batch_size: int
    parameters: dict[str, dict[str, str]]


class Failure(BaseModel):
    error: str


# For the schema; with it, FastAPI leaves out its own 422, which is never given.
REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": Failure}, 503: {"model": Failure}}


def create_router(service: Service) -> APIRouter:
    router = APIRouter()
    known_names = Path(json_schema_extra={"enum": list(service.models)})  # for the schema's readers: others are 404
    known_versions = Path(json_schema_extra={"enum": sorted({str(model.version) for model in service.models.values()})})

    async def by_name(name: str = known_names) -> OpenModel:
        if name not in service.models:
            if name == "stats":  # as tritonclient asks for those of all models
                raise HTTPException(404, NO_STATISTICS)
            raise HTTPException(404, f"no model {name[:64]!r}: there are {', '.join(service.models)}")
        return service.models[name]

    async def by_version(name: str = known_names, version: str = known_versions) -> OpenModel:
        model = await by_name(name)
        if version != str(model.version):
            raise HTTPException(404, f"{name} has no version {version[:64]!r}: there is {model.version}")
        return model

    @router.get("/v2/health/live", responses=REFUSALS)
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/v2/health/ready", responses=REFUSALS)
    async def ready() -> dict[str, bool]:
        """Before it accepts a connection, the server has opened its engines and run their canaries; 400 where one of
        them is not run any more.
        """
        for name in service.models:
            _require_working(service, name)
        return {"ready": True}

    @router.get("/v2", responses=REFUSALS)
    async def server_metadata() -> ServerMetadata:
        return ServerMetadata(name="segdino-deploy", version=segdino_deploy.__version__, extensions=EXTENSIONS)

    @router.get("/metrics", response_class=Response, include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    _add_model(router, service, "/v2/models/{name}", by_name)
    _add_model(router, service, "/v2/models/{name}/versions/{version}", by_version)
    return router


def _add_model(router: APIRouter, service: Service, prefix: str, find: Find) -> None:
    """The endpoints of one model, whose name and version are in the path."""
    body = {"application/json": {"schema": request_schema()}}

    @router.get(prefix, responses=REFUSALS)
    async def metadata(model: OpenModel = Depends(find)) -> ModelMetadata:
        card = model.runner.card
        return ModelMetadata(
            name=model.name,
            versions=[str(model.version)],
            platform=PLATFORMS.get(model.runner.backend, ""),
            inputs=[_describe(input_tensor(card), card)],
            outputs=[_describe(tensor, card) for tensor in output_tensors(card)],
        )

    @router.get(f"{prefix}/config", responses=REFUSALS)
    async def configuration(model: OpenModel = Depends(find)) -> ModelConfiguration:
        """The part of Triton's that clients ask for: the largest batch, and parameters that say which engine it is."""
        card = model.runner.card
        return ModelConfiguration(
            name=model.name,
            backend=model.runner.backend,
            max_batch_size=0 if card.batch.is_fixed else card.batch.max,
            parameters={key: {"string_value": value} for key, value in model.parameters.items()},
        )

    @router.get(f"{prefix}/ready", responses=REFUSALS)
    async def model_ready(model: OpenModel = Depends(find)) -> dict[str, str | bool]:
        _require_working(service, model.name)
        return {"name": model.name, "ready": True}

    @router.get(f"{prefix}/stats", include_in_schema=False, dependencies=[Depends(find)])
    async def statistics() -> None:
        raise HTTPException(404, NO_STATISTICS)

    @router.post(
        f"{prefix}/infer",
        response_model=InferResponse,
        responses=REFUSALS,
        openapi_extra={"requestBody": {"content": body, "required": True}},
    )
    async def infer(request: Request, model: OpenModel = Depends(find)) -> Response:
        batcher, options = service.batchers[model.name], service.options
        with batcher.admit():
            body = await read_body(request, service.max_request_bytes[model.name], options.body_seconds)
            inference = parse_request(body, request.headers.get(HEADER_LENGTH), model.runner.card)
            deadline_seconds = min(options.deadline_seconds, inference.timeout_seconds or options.deadline_seconds)
            work = batcher.within(deadline_seconds, batcher.run(inference.images))
            outputs = await unless_gone(request, work)
            answer, json_bytes = write_response(inference, outputs, model.name, str(model.version))
        if json_bytes is None:
            return Response(answer, media_type="application/json")
        headers = {HEADER_LENGTH: str(json_bytes)}
        return Response(answer, media_type="application/octet-stream", headers=headers)


def _require_working(service: Service, name: str) -> None:
    if not service.batchers[name].is_working:
        raise HTTPException(NOT_READY, f"{name} takes no more requests: start the server anew; its log says why")


def _describe(tensor: Tensor, card: ModelCard) -> TensorMetadata:
    """As Triton would describe it. An engine of a fixed batch takes any number here all the same."""
    first = card.batch.max if card.batch.is_fixed else -1
    return TensorMetadata(name=tensor.name, datatype=DATA_TYPES[tensor.dtype.name], shape=[*tensor.shape_of(first)])
