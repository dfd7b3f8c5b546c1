"""Which model, version and engine of a server the client takes, and which it refuses."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from segdino_deploy import Bundle
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.triton.connection import ServedModel, ServedTensor
from segdino_deploy.triton.runner import FoundModel, TritonRunner, check_tensors
from tests.triton.conftest import ONNX, Server, Write, serving


def test_a_model_that_is_not_there_is_named(server: Server, fixed: Path) -> None:
    for options in (server.options(model="lesion"), server.options(version=5)):
        with pytest.raises(InputError, match=r"the server says: Request for unknown model.*--triton-model"):
            TritonRunner(fixed, options)


def test_another_engine_than_the_bundles_is_refused_with_both_hashes(
    server: Server, fixed: Path, dynamic: Path
) -> None:
    ours, theirs = (
        Bundle.open(path).manifest.files["engines/onnxruntime-fp32.onnx"].sha256 for path in (fixed, dynamic)
    )
    with pytest.raises(InputError, match=rf"dynamic version 1: is {ONNX} with sha256 {theirs}, .* has {ONNX} {ours}"):
        TritonRunner(fixed, server.options(model="dynamic"))
    with pytest.raises(
        InputError, match=r"has openvino-fp32 [0-9a-f]{64} [0-9a-f]{64};"
    ):  # an engine file, not the one served
        TritonRunner(fixed / "engines" / "openvino-fp32.xml", server.options())
    with TritonRunner(fixed / "engines" / "onnxruntime-fp32.onnx", server.options()) as runner:
        assert runner.precision == "fp32"


def test_a_model_that_says_nothing_of_its_engine_is_refused(protocol: str, repository: Path, fixed: Path) -> None:
    with serving(protocol, repository) as running:
        del running.models.models["fixed"].config.parameters["segdino_deploy.version.1"]
        with pytest.raises(InputError, match="says nothing about its engine; serve what segdino-deploy triton writes"):
            TritonRunner(fixed, running.options())


def test_the_newest_version_is_pinned_and_never_replaced_by_another(
    protocol: str, two_precisions: Path, write: Write
) -> None:
    write(two_precisions, ONNX, versions=2)
    path = write(two_precisions, "onnxruntime-fp16", versions=2).path.parent
    image = {"image": np.zeros((1, 64, 96, 3), np.uint8)}
    with serving(protocol, path) as running:
        newest = TritonRunner(two_precisions, running.options())
        first = TritonRunner(two_precisions, running.options(version=1))
        assert [newest.precision, first.precision] == ["fp16", "fp32"]
        assert (newest.run(image)["logits"] != first.run(image)["logits"]).any()

        del running.models.models["fixed"].versions[1]
        newest.run(image)
        with pytest.raises(SegdinoDeployError, match="not found"):
            first.run(image)
        newest.close()
        first.close()


def renumber(folder: Path, number: int) -> None:
    """Gives the only version of a model another number."""
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    config.version_policy.specific.versions[:] = [number]
    parameters = config.parameters
    parameters[f"segdino_deploy.version.{number}"].CopyFrom(parameters["segdino_deploy.version.1"])
    del parameters["segdino_deploy.version.1"]
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
    (folder / "1").rename(folder / str(number))


@pytest.mark.parametrize("number", [0x4D1C_0FFE_E15D_EAD5, 2**63 - 1])
def test_a_version_that_is_made_of_a_hash_is_pinned_as_any_other(
    number: int, protocol: str, fixed: Path, write: Write
) -> None:
    """A number of `segdino-deploy serve` says which engine it is; floats, which JSON readers may make, would not."""
    written = write(fixed, ONNX)
    renumber(written.path, number)
    image = {"image": np.zeros((1, 64, 96, 3), np.uint8)}
    with (
        serving(protocol, written.path.parent) as running,
        TritonRunner(fixed, running.options()) as newest,
        TritonRunner(fixed, running.options(version=number)) as named,
    ):
        assert newest.device == named.device == f"{running.url} (fixed version {number}, {ONNX})"
        np.testing.assert_array_equal(newest.run(image)["logits"], named.run(image)["logits"])

        versions = running.models.models["fixed"].versions
        versions[number - 1] = versions.pop(number)  # started again, with another engine
        with pytest.raises(SegdinoDeployError, match=rf"version {number} is not found|'fixed' is not found"):
            newest.run(image)


def test_a_server_that_may_compute_in_bf16_is_warned_of(
    fixed: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(fixed, "openvino-fp32", accept_bf16=True).path.parent
    with (
        serving("http", path) as running,
        caplog.at_level(logging.WARNING),
        TritonRunner(fixed, running.options()),
    ):
        pass

    assert "was measured in f32; the server computes in bf16 where its CPU has that" in caplog.text


def test_tensors_that_are_not_the_cards_are_refused_with_both(fixed: Path) -> None:
    card = Bundle.open(fixed).manifest.model
    image = ServedTensor("image", "UINT8", (1, 64, 96, 3))
    outputs = (ServedTensor("mask", "UINT8", (1, 64, 96)), ServedTensor("logits", "FP32", (1, 1, 64, 96)))

    def check(*, inputs: tuple[ServedTensor, ...] = (image,), outputs: tuple[ServedTensor, ...] = outputs) -> None:
        described = ServedModel("", (1,), inputs, outputs)
        check_tensors(FoundModel("there", "fixed", 1, None, described), card)  # type: ignore[arg-type]

    check()
    check(outputs=outputs[::-1])
    with pytest.raises(InputError, match=r"there version 1: its inputs are image UINT8 \[1, 32, 32, 3\]; by the bun"):
        check(inputs=(replace(image, shape=(1, 32, 32, 3)),))
    with pytest.raises(InputError, match=r"its inputs are image UINT8 \[-1, 64, 96, 3\]"):
        check(inputs=(replace(image, shape=(-1, 64, 96, 3)),))
    with pytest.raises(InputError, match=r"its outputs are mask UINT8 \[1, 64, 96\]; by the bundle they are mask"):
        check(outputs=outputs[:1])
