"""Tensors as they lie in a file, and the mapping of names to arrays that the readers return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yosort.errors import CheckpointError, quote
from yosort.widened import Widened

Array = npt.NDArray[np.generic]

# safetensors' dtype names, and the NumPy dtype of the bytes. BF16 has no NumPy dtype and is kept as
# its 16 bits; BOOL is kept as bytes, because a NumPy bool that is neither 0 nor 1 is undefined.
BITS: Mapping[str, np.dtype[np.generic]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
}
#: NumPy's names of the dtypes (and torch's of BF16), as config.json and users have them.
DTYPES: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
FLOATS = ("F64", "F32", "F16", "BF16")
#: Those that count as float32.
WIDENED = ("F64", "BF16")

_NAME_OF = {
    bits.newbyteorder("="): name for name, bits in BITS.items() if name not in ("BF16", "BOOL")
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: the name of its dtype and its bits, usually a read-only view of a mapped file.

    Attributes:
        dtype: a key of `BITS`.
        bits: array of dtype `BITS[dtype]`; any shape, any strides, perhaps unaligned.
    """

    dtype: str
    bits: Array

    @classmethod
    def of(cls, array: Array | Widened, *, name: str = "tensor") -> Tensor:
        """Wrap an array. `name` is for the message of the CheckpointError about its dtype.

        What was read as bfloat16 stays it; what was float64 becomes float32.
        """
        if isinstance(array, Widened) and array.bits.dtype.kind == "u":
            return cls("BF16", array.bits)
        array = np.asarray(array)
        if array.dtype == np.bool_:
            return cls("BOOL", array.astype("u1"))
        dtype = _NAME_OF.get(array.dtype.newbyteorder("="))
        if dtype is None:
            raise CheckpointError.wanted(
                quote(name), f"one of the dtypes {', '.join(map(str, _NAME_OF))}", got=array.dtype
            )
        return cls(dtype, array)

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.bits.shape

    def array(self) -> Array:
        """Return the values: a view of the file where its dtype allows it.

        BF16 becomes float32 (exact) and F64 becomes float32 (rounded); BOOL becomes bool. Bits that
        lie unaligned in the file are copied: compiled loops may not read them in place.
        """
        if self.dtype in WIDENED:
            return np.asarray(Widened(self.bits))
        if self.dtype == "BOOL":
            return np.not_equal(self.bits, 0)
        return self.bits if self.bits.flags.aligned else self.bits.copy()

    def weight(self) -> Array | Widened:
        """Return the values as `array` does, but bfloat16 and float64 as they lie in the file."""
        return Widened(self.bits) if self.dtype in WIDENED else self.array()

    def cast(self, dtype: str, *, name: str) -> Tensor:
        """Return the tensor in another floating dtype; integers and booleans stay as they are.

        Args:
            dtype: "F32", "F16" or "BF16"; rounding is to nearest, ties to even.
            name: the tensor's name, for the error.

        Raises:
            CheckpointError: a finite value is beyond the range of `dtype`.
        """
        if self.dtype == dtype or self.dtype not in FLOATS:
            return self
        # F64 is widened first, so that it is rounded once and not twice.
        values = self.bits if self.dtype == "F64" else self.array()
        with np.errstate(over="ignore"):
            if dtype == "BF16":
                result = _round_to_bf16(np.asarray(values, np.float32))
                infinite = (result.bits & np.uint16(0x7FFF)) == 0x7F80
            else:
                result = Tensor(dtype, values.astype(BITS[dtype]))
                infinite = np.isinf(result.bits)
        overflow = infinite & np.isfinite(values)
        if overflow.any():
            raise CheckpointError(
                f"{quote(name)}: wanted values within the range of {dtype}, "
                f"got {float(values[overflow].flat[0])!r}; choose another dtype"
            )
        return result


def _round_to_bf16(values: npt.NDArray[np.float32]) -> Tensor:
    """Round float32 values, of any shape, to bfloat16 bits."""
    bits = np.ascontiguousarray(values).view(np.uint32).reshape(values.shape)
    rounded = (bits + (((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF))) >> np.uint32(
        16
    )
    # Rounding may carry a NaN's payload into infinity or zero: NaN keeps its upper bits, quiet.
    quiet = (bits >> np.uint32(16)) | np.uint32(0x0040)
    return Tensor("BF16", np.where(np.isnan(values), quiet, rounded).astype("<u2"))


class State(Mapping[str, Array]):
    """Weights by name. `state[name]` is an array; `state.tensor(name)` has the bits as stored.

    Nothing is read from the file until an array's values are used, and a BF16 tensor is converted
    each time that it is asked for.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    @classmethod
    def of(cls, arrays: Mapping[str, Array | Widened]) -> State:
        """Wrap plain arrays; a State is returned as it is."""
        if isinstance(arrays, cls):
            return arrays
        return cls({name: Tensor.of(array, name=name) for name, array in arrays.items()})

    def __getitem__(self, name: str) -> Array:
        return self._tensors[name].array()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def tensor(self, name: str) -> Tensor:
        """Return the tensor as stored, without any conversion."""
        return self._tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without converting it."""
        return self._tensors[name].shape
