"""A whole server in this process, asked by Triton's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from segdino_deploy.engines.run import Runner
from segdino_deploy.manifest import BatchRange
from segdino_deploy.serve.model import open_models
from segdino_deploy.triton.options import ClientOptions
from segdino_deploy.triton.runner import TritonRunner
from tests.serve.conftest import (
    Address,
    HeldRunner,
    metric,
    post,
    result,
    serving,
    serving_models,
)

UInt8 = NDArray[np.uint8]


@pytest.fixture
def client(server: Address) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.netloc) as opened:
        yield opened


def infer_input(images: UInt8, *, is_binary: bool = True) -> InferInput:
    return InferInput("image", list(images.shape), "UINT8").set_data_from_numpy(images, binary_data=is_binary)


def test_health_and_metadata_are_what_tritonclient_expects(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("polyp")
    assert client.is_model_ready("polyp", "1")
    assert not client.is_model_ready("polyp", "2")
    assert not client.is_model_ready("lesion")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "model_configuration"]
    metadata = client.get_model_metadata("polyp")
    assert metadata == client.get_model_metadata("polyp", "1")
    assert metadata == {
        "name": "polyp",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 64, 96, 3]}],
        "outputs": [
            {"name": "mask", "datatype": "UINT8", "shape": [-1, 64, 96]},
            {"name": "logits", "datatype": "FP32", "shape": [-1, 1, 64, 96]},
        ],
    }


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_the_answer_is_the_engines_own(
    version: str, is_binary: bool, compression: str | None, client: InferenceServerClient, polyp: Runner, images: UInt8
) -> None:
    wanted = [InferRequestedOutput(name, binary_data=is_binary) for name in ("logits", "mask")]
    answer = client.infer(
        "polyp",
        [infer_input(images[:3], is_binary=is_binary)],
        version,
        wanted,
        request_id="a1",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )

    own = polyp.run({"image": images[:3]})
    assert 0 < own["mask"].mean() < 1  # an engine that gives one class shows nothing
    for name in ("mask", "logits"):
        assert answer.as_numpy(name).dtype == own[name].dtype
        assert (answer.as_numpy(name) == own[name]).all()
    assert [answer.get_response()[key] for key in ("model_name", "model_version", "id")] == ["polyp", "1", "a1"]


def test_all_outputs_come_where_none_is_named(client: InferenceServerClient, polyp: Runner, images: UInt8) -> None:
    answer = client.infer("polyp", [infer_input(images[:1])])

    own = polyp.run({"image": images[:1]})
    assert {output["name"] for output in answer.get_response()["outputs"]} == set(own)
    assert (answer.as_numpy("mask") == own["mask"]).all()


def test_many_clients_get_their_own_masks(server: Address, polyp: Runner, images: UInt8) -> None:
    """Batches of one to six images from eight threads, of an engine that takes four."""
    rng = np.random.default_rng(0)
    asked = [images[rng.permutation(6)[: rng.integers(1, 7)]] for _ in range(40)]

    with ThreadPoolExecutor(8) as pool:
        masks = list(pool.map(lambda batch: result(post(server, batch)).as_numpy("mask"), asked))

    for batch, mask in zip(asked, masks, strict=True):
        own = np.concatenate([polyp.run({"image": image[None]})["mask"] for image in batch])
        assert (mask != own).mean() < 1e-4  # a batch of another size rounds differently
    assert metric(server, "segdino_batch_images_sum", model="polyp") >= sum(map(len, asked))


def test_an_engine_of_a_fixed_batch_takes_any_number(held: HeldRunner, images: UInt8) -> None:
    held.may_go_on.set()
    held.card = held.card.model_copy(update={"batch": BatchRange(min=4, opt=4, max=4)})
    with serving({"fixed": held}) as address:
        mask = result(post(address, images, "fixed")).as_numpy("mask")

    assert (mask == images[..., 0]).all()
    assert [len(batch) for batch in held.batches] == [4, 4]  # the second one is filled up


def test_predicts_own_client_of_triton_runs_on_it(served_bundle: Path, polyp: Runner, images: UInt8) -> None:
    """It asks for the sha256 of the engine, and refuses another one."""
    with open_models([served_bundle]) as models, serving_models(models) as address:
        url = f"http://{address.netloc}"
        with TritonRunner(served_bundle, ClientOptions(url)) as runner:
            answer = runner.run({"image": images})
            assert runner.device == f"{url} (polyp version {models['polyp'].version}, onnxruntime-fp32)"

    own = [polyp.run({"image": part}) for part in (images[:4], images[4:])]
    for name in ("mask", "logits"):
        assert (answer[name] == np.concatenate([part[name] for part in own])).all()


def test_two_models_are_told_apart(polyp: Runner, held: HeldRunner, images: UInt8) -> None:
    held.may_go_on.set()
    with serving({"polyp": polyp, "a model": held}) as address, InferenceServerClient(address.netloc) as client:
        mine, other = (client.infer(name, [infer_input(images[:1])]).as_numpy("mask") for name in ("polyp", "a model"))
        assert (mine == polyp.run({"image": images[:1]})["mask"]).all()
        assert (other == images[:1, ..., 0]).all()
        assert client.get_model_metadata("a model")["outputs"][0]["name"] == "mask"
        nameless = httpx.post(address("/v1/segment"), content=b"")
    assert (nameless.status_code, nameless.json()) == (
        400,
        {"error": "name a model, ?model=...: there are polyp, a model"},
    )


def test_what_is_not_there_is_404(client: InferenceServerClient, images: UInt8, server: Address) -> None:
    with pytest.raises(InferenceServerException, match=r"\[404\] no model 'lesion': there are polyp"):
        client.infer("lesion", [infer_input(images[:1])])
    with pytest.raises(InferenceServerException, match=r"\[404\] polyp has no version '7': there is 1"):
        client.infer("polyp", [infer_input(images[:1])], "7")
    for named in ((), ("polyp",), ("polyp", "1")):
        with pytest.raises(InferenceServerException, match=r"\[404\] statistics are not supported: /metrics has"):
            client.get_inference_statistics(*named)
    assert httpx.get(server("/v2/models/polyp/infer")).status_code == 405
    assert httpx.get(server("/docs")).status_code == 404


def test_wrong_requests_are_told_to_tritonclient(client: InferenceServerClient, images: UInt8) -> None:
    wrong = InferInput("image", [1, 64, 64, 3], "UINT8").set_data_from_numpy(images[:1, :, :64])
    with pytest.raises(InferenceServerException, match=r"\[400\] image has the shape \[1, 64, 64, 3\]"):
        client.infer("polyp", [wrong])
    with pytest.raises(InferenceServerException, match=r"\[400\] no output 'boxes'"):
        client.infer("polyp", [infer_input(images[:1])], outputs=[InferRequestedOutput("boxes")])
    assert client.infer("polyp", [infer_input(images[:1])]).as_numpy("mask").shape == (1, 64, 96)


def test_metrics_count_what_was_answered(polyp: Runner, images: UInt8) -> None:
    with serving({"polyp": polyp}) as address:
        for _ in range(3):
            post(address, images[:2])
        httpx.get(address("/v2/models/lesion"))
        httpx.get(address("/somewhere/else"))

        infer = "/v2/models/{name}/infer"
        assert metric(address, "segdino_requests_total", endpoint=infer, status="200") == 3
        assert metric(address, "segdino_request_seconds_count", endpoint=infer) == 3
        assert metric(address, "segdino_requests_total", endpoint="/v2/models/{name}", status="404") == 1
        assert metric(address, "segdino_requests_total", endpoint="other", status="404") == 1
        assert metric(address, "segdino_engine_seconds_count", model="polyp") == 3
        assert metric(address, "segdino_batch_images_sum", model="polyp") == 6
        assert metric(address, "process_resident_memory_bytes") > 2**20


def test_the_schema_names_every_endpoint_of_v2(server: Address) -> None:
    paths = httpx.get(server("/openapi.json")).json()["paths"]

    model = [
        f"/v2/models/{{name}}{version}{end}"
        for version in ("", "/versions/{version}")
        for end in ("", "/ready", "/config", "/infer")
    ]
    assert set(paths) == {"/v2", "/v2/health/live", "/v2/health/ready", "/v1/segment", *model}
    assert "422" not in json.dumps(paths)
    assert "$defs" not in json.dumps(paths)  # nobody could find them there
