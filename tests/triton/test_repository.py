"""The model repository as a server loads it: configuration, labels, batching, and the engine's own answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from segdino_deploy import Bundle, open_engine
from segdino_deploy.canary import canary_for
from segdino_deploy.engines.run import run_padded
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import check_heads
from segdino_deploy.triton.record import from_parameters
from tests.triton.conftest import Write, add_engine
from tests.triton.simulated_models import Model, ModelRepository


def cpu_has_bf16() -> bool:
    import openvino

    from segdino_deploy.engines.run.openvino import supports

    return supports(openvino.Core(), "bf16")


def run_model(model: Model, images: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return model.infer("", {"image": images})


@pytest.mark.parametrize("shape", ["real", "dynamic"])
def test_a_server_loads_an_onnxruntime_model_that_answers_as_the_engine_does(
    shape: str, request: pytest.FixtureRequest, write: Write
) -> None:
    bundle: Path = request.getfixturevalue(shape)

    written = write(bundle, "onnxruntime-fp32")

    model = ModelRepository(written.path.parent).models[shape]
    canary = canary_for(Bundle.open(bundle), "model.onnx").image
    with open_engine(bundle, backend="onnxruntime") as engine:
        expected = engine.run({"image": canary[:1].repeat(len(canary), axis=0)})
    (answer,) = model.warmed_up
    assert answer.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(answer[name], array)


@pytest.mark.parametrize("shape", ["real", "dynamic"])
def test_an_accepted_openvino_model_answers_within_what_bf16_may_change(
    shape: str, request: pytest.FixtureRequest, write: Write
) -> None:
    bundle = Bundle.open(request.getfixturevalue(shape))

    written = write(bundle.path, "openvino-fp32", accept_bf16=True)

    model = ModelRepository(written.path.parent).models[shape]
    canary = canary_for(bundle, "model.onnx")
    answer = run_model(model, canary.image)
    assert check_heads(canary.logits, answer, bundle.manifest.model.thresholds, "bf16").passed
    assert written.served.may_compute_in == "bf16"


def test_openvino_left_alone_computes_f32_engines_in_bf16_which_is_why_they_are_refused(
    real: Path, write: Write
) -> None:
    if not cpu_has_bf16():
        pytest.skip("this CPU has no bf16")
    images = canary_for(Bundle.open(real), "model.onnx").image
    written = write(real, "openvino-fp32", accept_bf16=True)
    served = run_model(ModelRepository(written.path.parent).models["real"], images)["logits"]
    with open_engine(real, backend="openvino") as engine:
        own = engine.run({"image": images})["logits"]

    assert np.abs(served - own).max() > 1e-3  # f32 against f32 differs by less than 1e-5

    with pytest.raises(InputError, match=r"openvino-fp32: was measured in f32.*--accept-bf16"):
        write(real, "openvino-fp32")


def test_a_bf16_openvino_engine_is_told_to_compute_in_bf16(own_copy: Bundle, write: Write) -> None:
    if not cpu_has_bf16():
        pytest.skip("this CPU has no bf16")
    add_engine(own_copy, "openvino", "bf16", "bf16")
    images = canary_for(own_copy, "model.onnx").image

    written = write(own_copy.path, "openvino-bf16", instances=3)

    model = ModelRepository(written.path.parent).models["fixed"]
    assert model.parameters["HINT_BF16"] == "YES"
    assert model.parameters["NUM_STREAMS"] == "3"
    with open_engine(own_copy.path, precision="bf16") as engine:
        expected = engine.run({"image": images})
    np.testing.assert_array_equal(run_model(model, images)["mask"], expected["mask"])


def test_batches_are_joined_only_where_the_engine_and_the_backend_can(
    fixed: Path, dynamic: Path, write: Write, tmp_path: Path
) -> None:
    write(fixed, "onnxruntime-fp32", "alone")
    write(dynamic, "onnxruntime-fp32", "joined", max_queue_delay_us=500, preferred_batch=(4, 3))
    write(dynamic, "onnxruntime-fp32", "plain", threads=1)
    write(dynamic, "openvino-fp32", "openvino", accept_bf16=True, threads=2)
    models = ModelRepository(tmp_path / "repository").models

    alone, joined, plain, openvino = (models[name].config for name in ("alone", "joined", "plain", "openvino"))
    assert (alone.max_batch_size, list(alone.input[0].dims)) == (0, [1, 64, 96, 3])
    assert not alone.HasField("dynamic_batching")
    assert (joined.max_batch_size, list(joined.input[0].dims)) == (4, [64, 96, 3])
    assert list(joined.dynamic_batching.preferred_batch_size) == [3, 4]
    assert joined.dynamic_batching.max_queue_delay_microseconds == 500
    assert plain.HasField("dynamic_batching")
    assert models["plain"].parameters["intra_op_thread_count"] == "1"
    assert (openvino.max_batch_size, list(openvino.input[0].dims)) == (0, [-1, 64, 96, 3])
    assert not openvino.HasField("dynamic_batching")
    assert models["openvino"].parameters["INFERENCE_NUM_THREADS"] == "2"
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)
    masks = [run_model(models[name], images)["tissue.mask"] for name in ("joined", "plain")]
    np.testing.assert_array_equal(*masks)
    assert run_model(models["openvino"], images[:3])["polyp.mask"].shape == (3, 64, 96)


def test_what_cannot_be_joined_is_refused_with_the_cure(fixed: Path, dynamic: Path, write: Write) -> None:
    with pytest.raises(InputError, match=r"exactly 1 at once.*--batch 1:4:16"):
        write(fixed, "onnxruntime-fp32", max_queue_delay_us=100)
    with pytest.raises(InputError, match=r"OpenVINO backend computes every batch at the largest size.*onnxruntime"):
        write(dynamic, "openvino-fp32", accept_bf16=True, preferred_batch=(2,))
    with pytest.raises(InputError, match=r"--preferred-batch: 8: it takes at most 4"):
        write(dynamic, "onnxruntime-fp32", preferred_batch=(4, 8))


def test_every_head_has_its_labels_and_the_card_tells_the_rest(dynamic: Path, write: Write) -> None:
    written = write(dynamic, "onnxruntime-fp32")

    model = ModelRepository(written.path.parent).models["dynamic"]
    manifest = Bundle.open(dynamic).manifest
    outputs = {output.name: output for output in model.config.output}
    labels = {name: (written.path / o.label_filename).read_text() for name, o in outputs.items() if o.label_filename}
    assert labels == {"polyp.mask": "background\npolyp\n", "tissue.mask": "fat\nmuscle\nbone\n"}
    record = from_parameters(model.parameters, "")[1]
    assert record.card == manifest.model
    assert record.files == {"model.onnx": manifest.files["engines/onnxruntime-fp32.onnx"]}
    assert (record.precision, record.manifest_schema) == ("fp32", manifest.schema_version)


def test_the_configuration_is_what_tritons_own_classes_read(dynamic: Path, write: Write) -> None:
    text = (write(dynamic, "onnxruntime-fp32").path / "config.pbtxt").read_text()

    config = text_format.Parse(text, model_config_pb2.ModelConfig())

    group = config.instance_group[0]
    assert (config.name, config.backend) == ("dynamic", "onnxruntime")
    assert (group.count, group.kind) == (1, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    assert [(o.name, list(o.dims), o.data_type) for o in config.output] == [
        ("polyp.mask", [64, 96], model_config_pb2.TYPE_UINT8),
        ("polyp.logits", [1, 64, 96], model_config_pb2.TYPE_FP32),
        ("polyp.probability", [1, 64, 96], model_config_pb2.TYPE_FP32),
        ("tissue.mask", [64, 96], model_config_pb2.TYPE_UINT8),
        ("tissue.logits", [3, 64, 96], model_config_pb2.TYPE_FP32),
        ("tissue.probability", [3, 64, 96], model_config_pb2.TYPE_FP32),
    ]
    assert config.model_warmup[0].batch_size == 2  # fewer images than the engine takes would be refused


def test_the_masks_of_a_whole_batch_are_those_of_single_images(dynamic: Path, write: Write) -> None:
    model = ModelRepository(write(dynamic, "onnxruntime-fp32").path.parent).models["dynamic"]
    images = np.random.default_rng(1).integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)

    with open_engine(dynamic, backend="onnxruntime") as engine:
        single = np.concatenate([run_padded(engine, image[None])["tissue.mask"] for image in images])

    assert (run_model(model, images)["tissue.mask"] != single).mean() < 1e-3
