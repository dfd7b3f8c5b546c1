"""What Triton's backends need, and which engine of a bundle is taken: without any server or library of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2

from segdino_deploy import Bundle
from segdino_deploy.canary import canary_for
from segdino_deploy.errors import InputError
from segdino_deploy.gpu import Gpu
from segdino_deploy.manifest import BatchRange, Engine, Manifest
from segdino_deploy.triton.configuration import configure
from segdino_deploy.triton.naming import check_name, model_name
from segdino_deploy.triton.options import RepositoryOptions
from segdino_deploy.triton.plan import EngineChoice, plan_models
from segdino_deploy.triton.record import ServedVersion, describe, from_parameters, to_parameters
from segdino_deploy.triton.serving import serve_engine
from tests.engines.tensorrt.helpers import engine_record

GPU = Gpu("NVIDIA L4", "8.9", "12.8", 1, 24 * 2**30)


def with_engine(bundle: Bundle, engine: Engine) -> Bundle:
    """The bundle with one more engine, whose file is no real one: nothing here opens it."""

    def add(manifest: Manifest) -> Manifest:
        name = f"{engine.backend}-{engine.precision}"
        return manifest.model_copy(update={"engines": {**manifest.engines, name: engine}})

    bundle.update({engine.file: b"a plan"}, add)
    return bundle


def tensorrt_config(bundle: Bundle, options: RepositoryOptions) -> Any:
    (planned,) = plan_models([bundle.path], EngineChoice("tensorrt-fp16"), options)
    served = describe(bundle, "tensorrt-fp16", planned.serving.files, None)
    canary = canary_for(bundle, "model.onnx").image
    return configure("plan", planned.serving, {7: served}, canary, options).message


def test_a_tensorrt_plan_runs_on_every_gpu_and_joins_requests_up_to_its_profile(own_copy: Bundle) -> None:
    profile = BatchRange(min=2, opt=2, max=4)
    card = own_copy.manifest.model.model_copy(update={"batch": profile})
    own_copy.update({}, lambda manifest: manifest.model_copy(update={"model": card}))
    with_engine(own_copy, engine_record("tensorrt", "10.13.0", GPU))

    config = tensorrt_config(own_copy, RepositoryOptions(instances=2))

    assert (config.backend, config.max_batch_size) == ("tensorrt", 4)
    assert list(config.version_policy.specific.versions) == [7]
    group = config.instance_group[0]
    assert (group.count, group.kind, list(group.gpus)) == (2, model_config_pb2.ModelInstanceGroup.KIND_GPU, [])
    assert {entry.name: list(entry.dims) for entry in config.input} == {"image": [64, 96, 3]}
    assert config.model_warmup[0].batch_size == 2  # the smallest batch of the profile


def test_a_plan_is_named_as_triton_looks_for_it_and_its_demands_are_told(own_copy: Bundle) -> None:
    with_engine(own_copy, engine_record("tensorrt", "10.13.0", GPU))
    (planned,) = plan_models([own_copy.path], EngineChoice("tensorrt-fp16"), RepositoryOptions())
    card = own_copy.manifest.model

    assert planned.serving.files == {"model.plan": "engines/tensorrt-fp16.plan"}
    assert planned.serving.max_batch_size == 0
    assert planned.notes == (
        "tensorrt-fp16: built with TensorRT 10.13.0 on compute capability 8.9; no other version opens it",
    )
    compatible = engine_record("tensorrt", "10.13.0", GPU, version_compatible=True)
    (note,) = serve_engine("tensorrt-fp16", compatible, card, RepositoryOptions()).notes
    assert "--backend-config=tensorrt,version-compatible=true" in note


def test_an_engine_for_a_dla_core_is_given_that_core(own_copy: Bundle) -> None:
    with_engine(own_copy, engine_record("tensorrt", "10.13.0", GPU, dla_core=1))

    group = tensorrt_config(own_copy, RepositoryOptions()).instance_group[0]

    assert [(device.kind, device.device_id) for device in group.secondary_devices] == [(0, 1)]  # 0: KIND_NVDLA


def test_what_triton_cannot_run_is_refused_with_the_cure(own_copy: Bundle) -> None:
    card, options = own_copy.manifest.model, RepositoryOptions()
    rtx = engine_record("tensorrt-rtx", "1.7.0")
    with pytest.raises(InputError, match=r"no backend for tensorrt-rtx engines.*--backend tensorrt .*openvino or"):
        serve_engine("tensorrt-rtx-fp16", rtx, card, options)
    stripped = engine_record("tensorrt", "10.13.0", GPU, strip_weights=True)
    with pytest.raises(InputError, match=r"--strip-weights.*build it without"):
        serve_engine("tensorrt-fp16", stripped, card, options)
    plain = engine_record("tensorrt", "10.13.0", GPU)
    with pytest.raises(InputError, match=r"--threads: it computes on the GPU"):
        serve_engine("tensorrt-fp16", plain, card, RepositoryOptions(threads=2))


def test_unnamed_the_first_servable_engine_in_the_order_of_predict_is_taken_and_the_others_told(
    own_copy: Bundle,
) -> None:
    with_engine(own_copy, engine_record("tensorrt-rtx", "1.7.0"))

    (planned,) = plan_models([own_copy.path], EngineChoice(), RepositoryOptions())
    (accepted,) = plan_models([own_copy.path], EngineChoice(), RepositoryOptions(accept_bf16=True))

    assert planned.engine == "onnxruntime-fp32"
    assert [note.split(":")[0] for note in planned.notes] == [
        "left out tensorrt-rtx-fp16",
        "left out openvino-fp32",
        "onnxruntime-fp32",
    ]
    assert accepted.engine == "openvino-fp32"


def test_an_engine_that_was_named_is_never_replaced(own_copy: Bundle) -> None:
    options = RepositoryOptions()
    for choice in (EngineChoice("openvino-fp32"), EngineChoice(backend="openvino")):
        with pytest.raises(InputError, match=r"fixed.segdino: openvino-fp32: was measured in f32"):
            plan_models([own_copy.path], choice, options)
    file = own_copy.file("engines/onnxruntime-fp32.onnx")
    assert plan_models([file], EngineChoice(), options)[0].engine == "onnxruntime-fp32"
    with pytest.raises(InputError, match="is an engine already"):
        plan_models([file], EngineChoice(precision="fp32"), options)
    with pytest.raises(InputError, match="--backend: 'tensorflow' is none of"):
        EngineChoice(backend="tensorflow")


@pytest.mark.parametrize(
    ("choice", "cure"),
    [
        (EngineChoice(precision="int8"), "make one: segdino-deploy build-engine {bundle} --int8"),
        (EngineChoice(backend="tensorrt"), "make one: segdino-deploy build-engine {bundle} --fp16 --backend tensorrt"),
        (
            EngineChoice("tensorrt-fp32"),
            "make one: segdino-deploy build-engine {bundle} --fp32 --backend tensorrt",
        ),
        (EngineChoice("fastest"), "name one that it has"),
    ],
)
def test_an_engine_that_is_not_there_is_told_with_the_whole_line_that_builds_it(
    choice: EngineChoice, cure: str, own_copy: Bundle
) -> None:
    with pytest.raises(InputError, match=r"engine \(has: openvino-fp32, onnxruntime-fp32\); ") as caught:
        plan_models([own_copy.path], choice, RepositoryOptions())
    assert str(caught.value).endswith(f"; {cure.format(bundle=own_copy.path)}")


@pytest.mark.parametrize(
    "choice",
    [EngineChoice("tensorrt-rtx-fp16"), EngineChoice("tensorrt-rtx-fp16-sm89"), EngineChoice(backend="tensorrt-rtx")],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_an_engine_that_triton_has_no_backend_for_is_never_offered(
    choice: EngineChoice, is_there: bool, own_copy: Bundle
) -> None:
    if is_there:
        with_engine(own_copy, engine_record("tensorrt-rtx", "1.7.0"))
    with pytest.raises(InputError, match=r"no backend for tensorrt-rtx engines; .*--fp16 --backend tensorrt \(on"):
        plan_models([own_copy.path], choice, RepositoryOptions())


@pytest.mark.parametrize(
    ("wrong", "option"),
    [({"backend": "onnxruntime"}, "--backend: onnxruntime"), ({"precision": "fp16"}, "--precision: fp16")],
)
def test_an_engine_of_another_kind_than_was_asked_for_is_told(wrong: dict[str, str], option: str) -> None:
    assert EngineChoice("openvino-fp32", "openvino", "fp32").kind == ("openvino", "fp32")
    with pytest.raises(InputError, match=f"{option}, but --engine is openvino-fp32; leave one of them out"):
        EngineChoice("openvino-fp32", **wrong)


NAMES = {
    "polyp.segdino": "polyp",
    "Polyp v1.2 (final).segdino": "Polyp_v1_2_final",
    "läsion.segdino": "l_sion",
    "-x.segdino": "x",
    "plain": "plain",
}


@pytest.mark.parametrize("folder", list(NAMES))
def test_models_have_names_that_folders_urls_and_metrics_can_hold(folder: str, tmp_path: Path) -> None:
    name = model_name(tmp_path / folder)

    assert name == NAMES[folder]
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "..", "-a", "a b", "é"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="--name"):
        check_name(name)
    with pytest.raises(InputError, match="name it with --name"):
        model_name(Path("/tmp/...segdino"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"instances": 0}, "--instances: 0 is below 1"),
        ({"threads": 0}, "--threads: 0 is below 1"),
        ({"versions": 0}, "--versions: 0 is below 1"),
        ({"preferred_batch": (2, 0)}, "--preferred-batch: 0 is below 1"),
        ({"max_queue_delay_us": -1}, "--max-queue-delay-us: -1 is below 0"),
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RepositoryOptions(**wrong)


def test_records_come_back_as_they_were_and_only_ours_are_read(own_copy: Bundle) -> None:
    record = describe(own_copy, "onnxruntime-fp32", {"model.onnx": "engines/onnxruntime-fp32.onnx"}, None)
    parameters = {**to_parameters({3: record}), "intra_op_thread_count": "2", "segdino_deploy.version.x": "?"}

    assert from_parameters(parameters, "here") == {3: record}
    assert from_parameters({"HINT_BF16": "YES"}, "here") == {}
    beyond_int = "9" * 5000  # Python refuses to read more than 4300 digits
    for number, text in (("1", "{}"), (beyond_int, record.model_dump_json())):
        with pytest.raises(InputError, match="here: its record is damaged; write it again"):
            from_parameters({f"segdino_deploy.version.{number}": text}, "here")
    newer = record.model_dump_json().replace('"record_version":1', '"record_version":2')
    assert ServedVersion.model_validate_json(newer).record_version == 2
    with pytest.raises(InputError, match="here: written by a newer segdino-deploy"):
        from_parameters({"segdino_deploy.version.1": newer}, "here")
