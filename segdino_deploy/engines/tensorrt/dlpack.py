"""DLPack: reading the capsules of other libraries, and making them (dmlc/dlpack, `dlpack.h`, ABI 0.8 and 1.x)."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

CUDA = 2  # kDLCUDA
KINDS = {0: "int", 1: "uint", 2: "float", 3: "handle", 4: "bfloat", 5: "complex", 6: "bool"}  # DLDataTypeCode
DEVICES = {1: "the CPU", 2: "a GPU", 3: "the CPU (pinned)", 13: "managed memory"}  # DLDeviceType
NAME, NAME_VERSIONED = b"dltensor", b"dltensor_versioned"


class _Device(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements; null: contiguous
        ("byte_offset", ctypes.c_uint64),
    ]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("dl_tensor", _Tensor), ("manager_ctx", ctypes.c_void_p), ("deleter", _Deleter)]


class _ManagedVersioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("dl_tensor", _Tensor),
    ]


@dataclass(frozen=True)
class Description:
    """What a producer says of its array. `itemsize` and `strides`: bytes. `device`: DLPack's type and number."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None  # None: C-contiguous
    dtype: str  # such as uint8
    itemsize: int
    device: tuple[int, int] | None = None  # None: not said

    @property
    def is_contiguous(self) -> bool:
        """C order; the strides of axes of length 1 say nothing."""
        if self.strides is None:
            return True
        expected = [self.itemsize * math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        return all(n == 1 or a == b for n, a, b in zip(self.shape, self.strides, expected, strict=True))


_api = ctypes.pythonapi
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(("PyCapsule_New", _api))
# The same two for a capsule that is being destroyed: as an object ctypes would count references to it again.
_is_valid_raw = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_get_pointer_raw = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))


def read_capsule(capsule: object) -> Description:
    """What a capsule of `__dlpack__` describes. It is only looked at: keep it, and with it the memory, while in use.

    ValueError where it is no such capsule, or was taken by somebody else.
    """
    if _is_valid(capsule, NAME):
        tensor = _Managed.from_address(_get_pointer(capsule, NAME)).dl_tensor
    elif _is_valid(capsule, NAME_VERSIONED):
        managed = _ManagedVersioned.from_address(_get_pointer(capsule, NAME_VERSIONED))
        if managed.major != 1:
            raise ValueError(f"its DLPack version is {managed.major}.{managed.minor}, not 1")
        tensor = managed.dl_tensor
    else:
        raise ValueError("its __dlpack__ gives no DLPack capsule, or one that was used before")
    ndim, dtype = tensor.ndim, tensor.dtype
    name = KINDS.get(dtype.code, f"type {dtype.code} of bits ")
    name += "" if name == "bool" else str(dtype.bits)
    itemsize = dtype.bits * dtype.lanes // 8
    strides = tuple(tensor.strides[i] * itemsize for i in range(ndim)) if tensor.strides else None
    return Description(
        (tensor.data or 0) + tensor.byte_offset,
        tuple(tensor.shape[i] for i in range(ndim)),
        strides,
        name if dtype.lanes == 1 else f"{name}x{dtype.lanes}",
        itemsize,
        (tensor.device.device_type, tensor.device.device_id),
    )


# What lives in capsules that others hold, by the address of its structure.
_given: dict[int, tuple[Any, ...]] = {}


def make_capsule(address: int, shape: tuple[int, ...], dtype: str, device: tuple[int, int], owner: object) -> object:
    """A capsule for `__dlpack__` of a C-contiguous array. `owner` lives as long as somebody uses it.

    `dtype`: `uint8` or `float32`. `device`: DLPack's type and number.
    """
    code, bits = {"uint8": (1, 8), "float32": (2, 32)}[dtype]
    lengths = (ctypes.c_int64 * len(shape))(*shape)
    managed = _Managed()
    managed.dl_tensor = _Tensor(
        address,
        _Device(*device),
        len(shape),
        _DataType(code, bits, 1),
        ctypes.cast(lengths, ctypes.POINTER(ctypes.c_int64)),
        None,
        0,
    )
    managed.deleter = _deleter
    place = ctypes.addressof(managed)
    _given[place] = (managed, lengths, owner)
    return _new(place, NAME, ctypes.cast(_destructor, ctypes.c_void_p))


def _delete(place: int, given: dict[int, tuple[Any, ...]] = _given) -> None:
    given.pop(place, None)


def _destroy(capsule: int) -> None:
    """Of a capsule that nobody took; whoever takes one gives it another name and calls the deleter."""
    if _is_valid_raw(capsule, NAME):
        _delete(_get_pointer_raw(capsule, NAME))


_deleter = _Deleter(_delete)
_destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_destroy)
# Others may call them when this module is gone already, at the end of the process.
for _callback in (_deleter, _destructor):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_callback))
