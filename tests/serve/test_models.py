"""Which models are served: their engines' checks, names and versions, and limits that fit what they take."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import Canary
from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import CheckFailed, InputError, SegdinoDeployError
from segdino_deploy.evidence import mask_from_logits
from segdino_deploy.manifest import BatchRange
from segdino_deploy.serve.model import OpenModel, open_models, version_of
from segdino_deploy.serve.options import ServeOptions
from segdino_deploy.serve.server import make_server
from segdino_deploy.triton.options import ClientOptions
from segdino_deploy.triton.record import describe
from segdino_deploy.triton.runner import TritonRunner
from tests.serve.conftest import HeldRunner, post, result, serving, serving_models

UInt8 = NDArray[np.uint8]


def test_an_engine_whose_canary_fails_is_not_served(served_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(served_bundle, tmp_path / "polyp.segdino")
    bundle = Bundle.open(tmp_path / "polyp.segdino")
    canary = Canary.read(bundle.file(CANARY))
    logits = {head: -values for head, values in canary.logits.items()}
    masks = {head: mask_from_logits(values, 0.5) for head, values in logits.items()}
    bundle.update({CANARY: Canary(canary.image, logits, masks).to_bytes()}, lambda manifest: manifest)

    says = r"not served: the canary failed on engines/onnxruntime-fp32\.onnx \(relative logit error"
    with pytest.raises(CheckFailed, match=says), open_models([bundle.path]):
        pass
    assert CheckFailed.exit_code == 1


def test_bundles_of_one_name_are_refused(served_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(served_bundle, tmp_path / "polyp.segdino")
    with (
        pytest.raises(InputError, match=r"polyp\.segdino: there is a model named polyp already; rename the bundle"),
        open_models([served_bundle, tmp_path / "polyp.segdino"]),
    ):
        pass


def test_an_engine_file_is_served_under_its_bundles_name(served_bundle: Path) -> None:
    with open_models([served_bundle / "engines" / "onnxruntime-fp32.onnx"]) as models:
        assert list(models) == ["polyp"]
        assert models["polyp"].engine == "onnxruntime fp32 on CPU"


def test_an_engine_has_its_own_version(served_bundle: Path) -> None:
    """Of all files, as OpenVINO's weights are beside its graph, and of the type that it computes in."""
    bundle = Bundle.open(served_bundle)
    file = "engines/onnxruntime-fp32.onnx"
    once, again = (describe(bundle, "onnxruntime-fp32", {"model.onnx": file}, None) for _ in range(2))
    more = once.model_copy(update={"files": once.files | {"model.bin": bundle.manifest.files[CANARY]}})
    in_bf16 = once.model_copy(update={"inference_precision": "bf16"})

    assert version_of(once) == version_of(again)
    assert len({version_of(record) for record in (once, more, in_bf16)}) == 3
    assert all(0 < version_of(record) < 2**63 for record in (once, more, in_bf16))


def test_a_client_is_never_answered_by_another_engine_than_it_was_opened_on(
    served_bundle: Path, held: HeldRunner, images: UInt8
) -> None:
    """The server is started anew on the same port, the model's name is the same."""
    held.may_go_on.set()
    with open_models([served_bundle]) as models:
        with serving_models(models) as address:
            client = TritonRunner(served_bundle, ClientOptions(f"http://{address.netloc}"))
            client.run({"image": images[:1]})
        other = OpenModel("polyp", held, models["polyp"].version + 1)
        with (
            client,
            serving_models({"polyp": other}, port=address.port),
            pytest.raises(SegdinoDeployError, match=f"polyp has no version '{models['polyp'].version}'"),
        ):
            client.run({"image": images[:1]})

    assert held.batches == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_batch": 5}, "--max-batch: 5 is more than polyp takes, which is 4"),
        ({"max_request_mib": 0.1}, "--max-request-mib: 0.1 is less than a batch of 4, which polyp takes: give 0.2 or"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(changes: dict[str, int], says: str, polyp: Runner) -> None:
    with pytest.raises(InputError, match=says):
        make_server({"polyp": OpenModel("polyp", polyp)}, ServeOptions(**changes))  # type: ignore[arg-type]


def test_the_largest_batch_that_the_configuration_offers_is_taken(held: HeldRunner) -> None:
    """More images than a queue has places, and more bytes than other requests may have."""
    held.may_go_on.set()
    held.card = held.card.model_copy(update={"batch": BatchRange(min=1, opt=1, max=1000)})
    with serving({"polyp": held}) as address:
        most = httpx.get(address("/v2/models/polyp/config")).json()["max_batch_size"]
        answer = post(address, np.zeros((most, 64, 96, 3), np.uint8))

    assert most == 1000
    assert result(answer).as_numpy("mask").shape == (1000, 64, 96)
