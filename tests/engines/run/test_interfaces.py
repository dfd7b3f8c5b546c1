"""Taking arrays that are on the GPU: what is accepted, and one clear error for everything else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from segdino_deploy.engines.tensorrt.interfaces import DeviceArray, read_device_image
from segdino_deploy.errors import InputError
from tests.engines.run.model import make_card, make_images
from tests.engines.run.simulation import Producer, SimulatedGpu

CARD = make_card(1, 4, (16, 32))
IMAGE = make_images(CARD, 2)
STREAM = 5


def test_the_whole_description_is_taken_over(gpu: SimulatedGpu) -> None:
    producer = Producer(gpu, IMAGE, stream=9)

    found = read_device_image(producer, CARD, gpu, STREAM)

    assert (found.address, found.batch, found.producer) == (producer.address, 2, 9)
    assert found.owner is producer


@pytest.mark.parametrize(
    ("changes", "producer_stream"),
    [
        ({"version": 3, "stream": None}, None),
        ({"version": 3, "stream": 2}, 2),
        ({"version": 2}, 1),  # such producers work on the default stream
        ({"version": 0}, 1),
        ({"strides": (16 * 32 * 3, 32 * 3, 3, 1)}, None),
        ({"typestr": "<u1"}, None),
        ({"shape": [2, 16, 32, 3]}, None),
    ],
)
def test_spellings_of_the_array_interface(
    changes: dict[str, Any], producer_stream: int | None, gpu: SimulatedGpu
) -> None:
    found = read_device_image(Producer(gpu, IMAGE, **changes), CARD, gpu, STREAM)

    assert (found.batch, found.producer) == (2, producer_stream)


def test_strides_of_a_single_image_say_nothing(gpu: SimulatedGpu) -> None:
    strides = (0, 32 * 3, 3, 1)  # PyTorch and NumPy leave them as they were before slicing

    found = read_device_image(Producer(gpu, IMAGE[:1], strides=strides), CARD, gpu, STREAM)

    assert found.batch == 1


BAD = {
    "image is float32: an array of uint8": {"typestr": "<f4"},
    "image is int8: an array of uint8": {"typestr": "|i1"},
    "image is bool: an array of uint8": {"typestr": "|b1"},
    "image has shape [2, 3, 16, 32]: [N, 16, 32, 3] is expected": {"shape": (2, 3, 16, 32)},
    "image has shape [16, 32, 3]: [N, 16, 32, 3] is expected": {"shape": (16, 32, 3)},
    "image has shape [2, 32, 16, 3]": {"shape": (2, 32, 16, 3)},
    "image holds a batch of 5: this model takes 1 to 4 on the GPU; cut it up": {"shape": (5, 16, 32, 3)},
    "image holds a batch of 0": {"shape": (0, 16, 32, 3)},
    "image has strides [1536, 96, 1, 32] bytes: a C-contiguous array": {"strides": (1536, 96, 1, 32)},
    "image has strides [3072, 96, 3, 1] bytes": {"strides": (3072, 96, 3, 1)},  # every other image of a batch
    "image has no memory (its address is 0)": {"data": (0, False)},
    "is no such thing: stream 0": {"stream": 0},
    "is no such thing: masked arrays": {"mask": object()},
    "is no such thing: 2 strides for 4 axes": {"strides": (3, 1)},
    "is no such thing: data type 'xyz' not understood": {"typestr": "xyz"},
    "is no such thing: 'NoneType'": {"data": None},
}


@pytest.mark.parametrize("message", list(BAD))
def test_a_wrong_array_is_one_clear_error(message: str, gpu: SimulatedGpu) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_device_image(Producer(gpu, IMAGE, **BAD[message]), CARD, gpu, STREAM)  # type: ignore[arg-type]

    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(gpu: SimulatedGpu) -> None:
    producer = Producer(gpu, IMAGE)
    del producer.said["typestr"]

    with pytest.raises(InputError, match="no such thing: 'typestr'"):
        read_device_image(producer, CARD, gpu, STREAM)


def test_memory_of_another_device_is_refused_before_the_gpu_can_fault(
    gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = np.zeros(IMAGE.nbytes, np.uint8)
    with pytest.raises(InputError, match="no memory of a GPU: one on GPU 0, where the engine is, is expected"):
        read_device_image(Producer(gpu, IMAGE, data=(host.ctypes.data, False)), CARD, gpu, STREAM)

    producer = Producer(gpu, IMAGE)
    monkeypatch.setattr(gpu, "device_of", lambda _: 3)
    with pytest.raises(InputError, match="image is on GPU 3: one on GPU 0"):
        read_device_image(producer, CARD, gpu, STREAM)


@pytest.mark.parametrize("image", [[1, 2], "image", None, 7])
def test_what_is_no_array_on_a_gpu_is_told_where_to_go(image: object, gpu: SimulatedGpu) -> None:
    with pytest.raises(InputError, match=f"image is {type(image).__name__}: an array on the GPU .*; run takes numpy"):
        read_device_image(image, CARD, gpu, STREAM)


def test_arrays_in_host_memory_are_told_where_to_go(gpu: SimulatedGpu) -> None:
    with pytest.raises(InputError, match="image is on the CPU: one on GPU 0 is expected; run takes numpy arrays"):
        read_device_image(IMAGE, CARD, gpu, STREAM)


def test_a_cpu_tensor_of_pytorch_is_told_where_to_go(gpu: SimulatedGpu) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    with pytest.raises(InputError, match="image is on the CPU"):
        read_device_image(torch.from_numpy(IMAGE), CARD, gpu, STREAM)


def test_outputs_describe_themselves() -> None:
    array = DeviceArray(4096, (2, 3, 4, 5), np.dtype(np.float32), 77, 0, lambda: True)

    assert array.__cuda_array_interface__ == {
        "shape": (2, 3, 4, 5),
        "typestr": "<f4",
        "data": (4096, False),
        "version": 3,
        "strides": None,
        "stream": 77,
    }
    assert array.__dlpack_device__() == (2, 0)
    with pytest.raises(BufferError):
        array.__dlpack__(copy=True)
    with pytest.raises(BufferError):
        array.__dlpack__(dl_device=(1, 0))
