"""`config.pbtxt` of one model, and the files beside it that it names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.tensorrt.tensors import Tensor, input_tensor, output_tensors
from segdino_deploy.errors import CheckFailed
from segdino_deploy.manifest import HeadCard, ModelCard, head_and_kind
from segdino_deploy.triton.options import RepositoryOptions
from segdino_deploy.triton.protos import from_text, model_config_classes, to_text
from segdino_deploy.triton.record import ServedVersion, to_parameters
from segdino_deploy.triton.serving import HINT_BF16, Serving

WARMUP_FOLDER = "warmup"  # where Triton looks for the data of warm-up requests
DATA_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


@dataclass(frozen=True)
class Configuration:
    """A model's configuration. `assets`: the files that it names, by their path in the model's folder.

    Assets are named by their content, so that writing those of a new version never changes what the configuration that
    is still in place needs.
    """

    message: Any  # Triton's ModelConfig
    text: str
    assets: Mapping[str, bytes]


def configure(
    name: str,
    serving: Serving,
    versions: Mapping[int, ServedVersion],
    canary_nhwc: NDArray[np.uint8],
    options: RepositoryOptions,
) -> Configuration:
    """The configuration that serves `versions`, of which the one with the largest number is the newest.

    `canary_nhwc`: uint8 `[N, H, W, 3]`, N the smallest batch the model takes. Made with Triton's own classes, written
    as text and parsed again. Raises MissingComponent where tritonclient is not installed.
    """
    classes = model_config_classes()
    card = versions[max(versions)].card
    config = classes.ModelConfig(name=name, backend=serving.backend, max_batch_size=serving.max_batch_size)
    config.version_policy.specific.versions.extend(sorted(versions))  # exactly these: see `repository`
    _fill(config.input.add(), input_tensor(card), serving, classes)
    assets: dict[str, bytes] = {}
    for tensor in output_tensors(card):
        output = config.output.add()
        _fill(output, tensor, serving, classes)
        head_name, kind = head_and_kind(tensor.name)
        if kind == "mask":  # whose values are class indices; of the other outputs Triton would label single pixels
            labels = _labels(next(head for head in card.heads if head.name == head_name))
            output.label_filename = _named("labels", labels, "txt")
            assets[output.label_filename] = labels
    _fill_instances(config.instance_group.add(), serving, options, classes)
    if serving.max_batch_size > 1:
        config.dynamic_batching.SetInParent()  # without any value it joins whatever waits already
        config.dynamic_batching.preferred_batch_size.extend(sorted(set(options.preferred_batch)))
        config.dynamic_batching.max_queue_delay_microseconds = options.max_queue_delay_us or 0
    assets |= _fill_warmup(config.model_warmup.add(), canary_nhwc, card, serving, classes)
    for key, value in {**serving.parameters, **to_parameters(versions)}.items():
        config.parameters[key].string_value = value
    text = to_text(config)
    if from_text(text, name) != config:
        raise CheckFailed(f"{name}: its configuration reads back as another one; nothing was written, please report it")
    return Configuration(config, text, assets)


def what_versions_share(config: Any) -> Any:
    """The part of a configuration that an engine depends on. Versions that are served side by side have all of it in
    common; the rest, such as the number of instances, may change for all of them.
    """
    shared = type(config)(backend=config.backend, max_batch_size=config.max_batch_size)
    shared.input.extend(config.input)
    shared.output.extend(config.output)
    for output in shared.output:
        output.ClearField("label_filename")
    for group in config.instance_group:
        shared.instance_group.add(kind=group.kind, secondary_devices=group.secondary_devices)
    if HINT_BF16 in config.parameters:
        shared.parameters[HINT_BF16].CopyFrom(config.parameters[HINT_BF16])
    return shared


def _fill(entry: Any, tensor: Tensor, serving: Serving, classes: Any) -> None:
    """One input or output: its dims are of one image where Triton puts the batch before them."""
    entry.name = tensor.name
    entry.data_type = classes.DataType.Value(DATA_TYPES[tensor.dtype.name])
    entry.dims.extend(tensor.shape if serving.first_dim is None else tensor.shape_of(serving.first_dim))


def _fill_instances(group: Any, serving: Serving, options: RepositoryOptions, classes: Any) -> None:
    kinds = classes.ModelInstanceGroup
    group.count = options.instances
    group.kind = kinds.KIND_GPU if serving.on_gpu else kinds.KIND_CPU
    if serving.dla_core is not None:
        group.secondary_devices.add(kind=kinds.SecondaryDevice.KIND_NVDLA, device_id=serving.dla_core)


def _fill_warmup(
    warmup: Any, canary_nhwc: NDArray[np.uint8], card: ModelCard, serving: Serving, classes: Any
) -> dict[str, bytes]:
    """One request with the canary before the model is called ready: what is chosen or allocated in the first run is
    not waited for by the first client. Returns the file with its pixels.
    """
    warmup.name = "canary"
    if serving.first_dim is None:  # Triton repeats the one image
        warmup.batch_size = card.batch.min
        image = canary_nhwc[0]  # [H, W, 3]
    else:
        warmup.batch_size = 1
        image = canary_nhwc  # [N, H, W, 3]
    pixels = np.ascontiguousarray(image).tobytes()
    data = warmup.inputs[input_tensor(card).name]
    data.data_type = classes.DataType.Value("TYPE_UINT8")
    data.dims.extend(image.shape)
    data.input_data_file = _named("canary", pixels, "bin")
    return {f"{WARMUP_FOLDER}/{data.input_data_file}": pixels}


def _labels(head: HeadCard) -> bytes:
    """A class name per line: line i is what the mask's value i means. The mask of one class has 0 for everything else.

    UTF-8; a name's own line breaks become spaces.
    """
    names = ["background", *head.class_names] if head.num_classes == 1 else head.class_names
    return "".join(" ".join(name.split()) + "\n" for name in names).encode()


def _named(stem: str, content: bytes, suffix: str) -> str:
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
