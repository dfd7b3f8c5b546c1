"""Arrays that are on the GPU: taking other libraries' without a copy, and giving ours.

`__cuda_array_interface__`: numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html, versions 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from segdino_deploy.engines.run.device_memory import DEFAULT_STREAM, DeviceMemory
from segdino_deploy.engines.tensorrt.dlpack import CUDA, DEVICES, Description, make_capsule, read_capsule
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.manifest import ModelCard

ARRAY_INTERFACE = "__cuda_array_interface__"
FIRST_WITH_STREAM = 3  # version


@dataclass(frozen=True)
class DeviceImage:
    """uint8 `[N, H, W, 3]` on the runner's GPU, contiguous."""

    address: int
    batch: int
    producer: int | None  # the stream that the image is made on; None: our stream waits for it already
    owner: object  # whatever keeps the memory alive


def read_device_image(image: object, card: ModelCard, memory: DeviceMemory, stream: int) -> DeviceImage:
    """Takes an object with `__dlpack__` or `__cuda_array_interface__`, without a copy.

    `stream`: the one that will read it. DLPack comes first, as it orders the producer's work before that stream.
    Raises InputError for another type, shape, layout or device, and where the producer itself fails.
    """
    if hasattr(image, "__dlpack__") and hasattr(image, "__dlpack_device__"):
        found, owner = _from_dlpack(image, memory, stream)
        producer = None
    elif hasattr(image, ARRAY_INTERFACE):
        found, producer = _from_array_interface(image)
        owner = image
    else:
        raise InputError(
            f"image is {type(image).__name__}: an array on the GPU ({ARRAY_INTERFACE} or DLPack) is expected; "
            "run takes numpy arrays"
        )
    _check(found, card)
    if found.device is None:
        _check_device(memory.device_of(found.address), memory)
    return DeviceImage(found.address, found.shape[0], producer, owner)


def _from_dlpack(image: Any, memory: DeviceMemory, stream: int) -> tuple[Description, object]:
    try:
        kind, number = (int(value) for value in image.__dlpack_device__())
    except Exception as error:  # the producer's own; it may raise whatever it likes
        raise InputError(f"image's __dlpack_device__ failed: {one_line(error)}") from error
    if kind != CUDA:
        where = DEVICES.get(kind, f"DLPack's device type {kind}")
        raise InputError(f"image is on {where}: one on GPU {memory.device} is expected; run takes numpy arrays")
    _check_device(number, memory)
    try:
        capsule = image.__dlpack__(stream=stream)
        return read_capsule(capsule), (capsule, image)
    except Exception as error:
        raise InputError(f"image's __dlpack__ failed: {one_line(error)}") from error


def _from_array_interface(image: Any) -> tuple[Description, int | None]:
    """The description, and the stream to wait for."""
    try:
        said = image.__cuda_array_interface__
        dtype = np.dtype(said["typestr"])
        shape = tuple(int(length) for length in said["shape"])
        strides = said.get("strides")
        found = Description(
            int(said["data"][0] or 0),
            shape,
            None if strides is None else tuple(int(step) for step in strides),
            dtype.name,
            dtype.itemsize,
        )
        if strides is not None and len(strides) != len(shape):
            raise ValueError(f"{len(strides)} strides for {len(shape)} axes")
        stream = said.get("stream")
        if stream == 0:
            raise ValueError("stream 0 may be either default stream; 1 or 2 says which")
        if said.get("mask") is not None:
            raise ValueError("masked arrays are not taken")
        # Before version 3 nobody could name a stream: what such producers do is on the default one.
        if int(said.get("version", 0)) < FIRST_WITH_STREAM:
            return found, DEFAULT_STREAM
        return found, None if stream is None else int(stream)
    except Exception as error:  # a property of the producer's, and what it gave may be anything
        raise InputError(f"image's {ARRAY_INTERFACE} is no such thing: {one_line(error)}") from error


def _check(found: Description, card: ModelCard) -> None:
    height, width = card.input_size
    batch = card.batch
    if found.dtype != "uint8":
        raise InputError(f"image is {found.dtype}: an array of uint8 is expected")
    if len(found.shape) != 4 or found.shape[1:] != (height, width, 3):
        raise InputError(f"image has shape {list(found.shape)}: [N, {height}, {width}, 3] is expected")
    if not batch.min <= found.shape[0] <= batch.max:
        takes = str(batch.min) if batch.is_fixed else f"{batch.min} to {batch.max}"
        raise InputError(f"image holds a batch of {found.shape[0]}: this model takes {takes} on the GPU; cut it up")
    if not found.is_contiguous:
        strides = list(found.strides or ())
        raise InputError(f"image has strides {strides} bytes: a C-contiguous array is expected; copy it into one")
    if found.address == 0:
        raise InputError("image has no memory (its address is 0)")


def _check_device(device: int | None, memory: DeviceMemory) -> None:
    if device != memory.device:
        where = "no memory of a GPU" if device is None else f"on GPU {device}"
        raise InputError(f"image is {where}: one on GPU {memory.device}, where the engine is, is expected")


class DeviceArray:
    """An output on the GPU, complete when it is given. No copy: the next call writes over it.

    `shape`, `dtype` as numpy's. Read it through `__cuda_array_interface__` (CuPy, Numba, PyTorch's `as_tensor`) or
    DLPack (`from_dlpack`); SegdinoDeployError, with the cure, where that is asked for too late.
    """

    def __init__(
        self,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        stream: int,
        device: int,
        is_current: Callable[[], bool],
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._address = address
        self._stream = stream
        self._device = device
        self._is_current = is_current

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        self._require_current()
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._address, False),
            "version": 3,
            "strides": None,
            "stream": self._stream,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self._device

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: object = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """A capsule. No stream has to wait; `copy` and another device are refused with BufferError, as DLPack asks."""
        del stream, max_version
        self._require_current()
        device = self.__dlpack_device__()
        if copy or dl_device not in (None, device):
            raise BufferError("this array is given as it is, on its GPU")
        return make_capsule(self._address, self.shape, self.dtype.name, device, self)

    def _require_current(self) -> None:
        if not self._is_current():
            raise SegdinoDeployError("this result is gone: a later call wrote over it; copy it before the next call")
