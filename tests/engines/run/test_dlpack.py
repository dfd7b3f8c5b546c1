"""DLPack, against the capsules of NumPy and PyTorch and against what they read from ours."""

from __future__ import annotations

import ctypes
import gc
import re
import weakref
from typing import Any

import numpy as np
import pytest

from segdino_deploy.engines.tensorrt import dlpack
from segdino_deploy.engines.tensorrt.dlpack import make_capsule, read_capsule
from segdino_deploy.engines.tensorrt.interfaces import DeviceArray, read_device_image
from segdino_deploy.errors import InputError
from tests.engines.run.model import make_card, make_images
from tests.engines.run.simulation import SimulatedGpu

CPU, GPU, PINNED, MANAGED = 1, 2, 3, 13
CARD = make_card(1, 4, (16, 32))
IMAGE = make_images(CARD, 2)


@pytest.mark.parametrize(
    "array",
    [
        IMAGE,
        IMAGE[::2],
        IMAGE.transpose(0, 3, 1, 2),
        IMAGE[:, 3:, 4:],
        np.zeros((2, 3), np.float32),
        np.zeros((2, 3), np.int16)[:, ::-1],
        np.zeros(4, np.bool_),
        np.zeros((), np.complex64),
    ],
)
@pytest.mark.parametrize("max_version", [None, (1, 0)])
def test_numpys_capsules_are_read(array: np.ndarray[Any, Any], max_version: tuple[int, int] | None) -> None:
    try:
        capsule = array.__dlpack__(max_version=max_version)  # type: ignore[call-arg,unused-ignore]
    except TypeError:
        if max_version is not None:
            pytest.skip("this NumPy gives capsules of the first version only")
        capsule = array.__dlpack__()

    found = read_capsule(capsule)

    assert found.address == array.ctypes.data
    assert found.shape == array.shape
    assert found.strides in (array.strides, None)
    assert found.is_contiguous is array.flags.c_contiguous
    assert (found.dtype, found.itemsize) == (array.dtype.name, array.itemsize)
    assert found.device == (CPU, 0)


def test_pytorchs_capsules_are_read() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.zeros((2, 16, 32, 3), dtype=torch.uint8)[1:]  # not at the start of its memory

    found = read_capsule(tensor.__dlpack__())

    assert (found.address, found.shape, found.dtype) == (tensor.data_ptr(), (1, 16, 32, 3), "uint8")
    assert found.is_contiguous


def test_a_capsule_that_was_used_is_refused() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    capsule = torch.zeros(3).__dlpack__()
    torch.utils.dlpack.from_dlpack(capsule)

    with pytest.raises(ValueError, match="used before"):
        read_capsule(capsule)
    with pytest.raises(ValueError, match="no DLPack capsule"):
        read_capsule("capsule")


class HostArray:
    """Gives its memory with our own capsules, as `DeviceArray` does, but says the truth about the device."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0

    def __dlpack__(self, **_: object) -> object:
        array = self.array
        return make_capsule(array.ctypes.data, array.shape, array.dtype.name, (CPU, 0), self)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_numpy_and_pytorch_read_our_capsules(dtype: type) -> None:
    array: np.ndarray[Any, Any] = np.arange(24).astype(dtype).reshape(2, 3, 4)

    producer: Any = HostArray(array)
    np.testing.assert_array_equal(np.from_dlpack(producer), array)

    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.from_dlpack(HostArray(array))
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert tensor.data_ptr() == array.ctypes.data  # no copy


def test_the_owner_lives_until_the_last_reader_is_gone() -> None:
    owner: Any = HostArray(np.ones(3, np.uint8))
    alive = weakref.ref(owner)
    reader = np.from_dlpack(owner)
    part = reader[1:]
    del owner, reader
    gc.collect()
    assert alive() is not None

    del part
    gc.collect()

    assert alive() is None
    assert dlpack._given == {}


def test_a_capsule_that_nobody_takes_lets_its_owner_go() -> None:
    owner = HostArray(np.ones(3, np.uint8))
    alive = weakref.ref(owner)
    capsule = owner.__dlpack__()
    assert len(dlpack._given) == 1
    del owner
    gc.collect()
    assert alive() is not None

    del capsule
    gc.collect()

    assert alive() is None
    assert dlpack._given == {}


def test_outputs_on_the_gpu_give_capsules_that_say_so() -> None:
    array = DeviceArray(8192, (2, 16, 32), np.dtype(np.uint8), 77, 0, lambda: True)

    found = read_capsule(array.__dlpack__(stream=2, max_version=(1, 0)))

    assert (found.address, found.shape, found.strides) == (8192, (2, 16, 32), None)
    assert (found.dtype, found.device) == ("uint8", (GPU, 0))


class GpuTensor:
    """NumPy's own capsule of an array, made to say that it is on a GPU; notes the stream that it is asked for."""

    def __init__(self, array: np.ndarray[Any, Any], device: tuple[int, int] = (GPU, 0)) -> None:
        self.array, self.device = array, device
        self.asked: list[object] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: object = None) -> object:
        self.asked.append(stream)
        capsule = self.array.__dlpack__()
        place = dlpack._get_pointer(capsule, b"dltensor")
        dlpack._Managed.from_address(place).dl_tensor.device = dlpack._Device(*self.device)
        return capsule


def test_a_tensor_on_the_gpu_is_taken_and_its_producer_told_our_stream() -> None:
    tensor = GpuTensor(IMAGE)

    found = read_device_image(tensor, CARD, SimulatedGpu(), 77)

    assert (found.address, found.batch) == (IMAGE.ctypes.data, 2)
    assert tensor.asked == [77]  # the producer makes that stream wait, so that we need not
    assert found.producer is None
    owner: Any = found.owner
    capsule, kept = owner
    assert kept is tensor
    assert read_capsule(capsule).shape == IMAGE.shape


def test_an_offset_into_the_memory_is_counted() -> None:
    capsule = IMAGE.__dlpack__()
    place = dlpack._get_pointer(capsule, b"dltensor")
    dlpack._Managed.from_address(place).dl_tensor.byte_offset = ctypes.c_uint64(512)

    assert read_capsule(capsule).address == IMAGE.ctypes.data + 512


class Failing(GpuTensor):
    def __dlpack__(self, *, stream: object = None) -> object:
        raise BufferError("tensors that require gradients are not given\nsecond line")


class NoCapsule(GpuTensor):
    def __dlpack__(self, *, stream: object = None) -> object:
        return [stream]


class NoDevice(GpuTensor):
    def __dlpack_device__(self) -> tuple[int, int]:
        raise RuntimeError("no device here")


FORTRAN = np.asfortranarray(IMAGE)
BAD = {
    "image is on the CPU: one on GPU 0 is expected; run takes numpy arrays": GpuTensor(IMAGE, (CPU, 0)),
    "image is on the CPU (pinned)": GpuTensor(IMAGE, (PINNED, 0)),
    "image is on managed memory": GpuTensor(IMAGE, (MANAGED, 0)),
    "image is on DLPack's device type 10": GpuTensor(IMAGE, (10, 0)),
    "image is on GPU 1: one on GPU 0, where the engine is": GpuTensor(IMAGE, (GPU, 1)),
    "image is float32: an array of uint8": GpuTensor(IMAGE.astype(np.float32)),
    "image is int8": GpuTensor(IMAGE.view(np.int8)),
    "image has shape [2, 3, 16, 32]: [N, 16, 32, 3]": GpuTensor(np.ascontiguousarray(IMAGE.transpose(0, 3, 1, 2))),
    "image holds a batch of 6: this model takes 1 to 4": GpuTensor(np.concatenate([IMAGE] * 3)),
    "image has strides [1, 2, 32, 1024] bytes: a C-contiguous array": GpuTensor(FORTRAN),
    "image's __dlpack__ failed: tensors that require gradients are not given": Failing(IMAGE),
    "image's __dlpack__ failed: its __dlpack__ gives no DLPack capsule": NoCapsule(IMAGE),
    "image's __dlpack_device__ failed: no device here": NoDevice(IMAGE),
}


@pytest.mark.parametrize("message", list(BAD))
def test_a_wrong_tensor_is_one_clear_error(message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_device_image(BAD[message], CARD, SimulatedGpu(), 77)

    assert "\n" not in str(caught.value)
