"""Compiles kernels/cuda/*.cu for a device, once, and launches them with checks.

A kernel's argument list is written twice, in its .cu file and in SIGNATURES: CUDA itself checks
nothing, and an argument of the wrong size would shift all that follow.
"""

from __future__ import annotations

import threading
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from yosort.errors import DeviceError

#: kernel -> (its file, its arguments): r: real array (the compute type), f: float32 array,
#: c: uint16 codes, u: uint32 array, i: int32 array, l: int64 array, each without gaps; s: real rows
#: that may lie apart, their distance behind (a trailing ? allows None); I, L, F: an int32, int64,
#: float32 number.
SIGNATURES: dict[str, tuple[str, str]] = {
    "hadamard_hash": ("hadamard_hash", "s L I I s L I I u I I c c"),
    "sign_codes": ("sign_codes", "f I I I I c"),
    "lsh_cumulation": ("lsh_cumulation", "c I c I s L i i i I I I I I f"),
    "normalize_heads": ("normalize_heads", "f I I i? I I I F I r"),
    "inverse_norms": ("expected_attention", "s L I s L I I I f f"),
    "expected_attention": ("expected_attention", "s L f s L f s L i i i i I I f"),
    "tensor_attention": ("tensor_attention", "s L f s L f s L i i i i I I f"),
    "bias_activation": ("layer", "r f L I"),
    "residual_norm": ("layer", "r f? r? f f F I r"),
    "embed": ("layer", "r? l? r? r l r l f f F I r"),
    "add_convolution": ("convolution", "r s L f I i i i i f? I I I r"),
}
#: The value of a macro: a number, or the name of a function.
Define = int | str
_ARRAYS = {"f": "float32", "c": "uint16", "u": "uint32", "i": "int32", "l": "int64"}
_NUMBERS: dict[str, Any] = {"I": np.int32, "L": np.int64, "F": np.float32}
_LARGEST = {"I": 2**31 - 1, "L": 2**63 - 1, "F": float("inf")}
_GRID_LIMITS = (2**31 - 1, 65535, 65535)
_NULL = np.uintp(0)


class _Argument(NamedTuple):
    """What a kernel takes in one place: a number up to `largest`, or an array.

    Types are compared as objects: asking NumPy for a type's name takes microseconds.
    """

    number: Any
    largest: float
    dtype: np.dtype[Any] | None
    optional: bool
    strided: bool

    @classmethod
    def of(cls, kind: str, real: np.dtype[Any]) -> _Argument:
        if kind in _NUMBERS:
            return cls(_NUMBERS[kind], _LARGEST[kind], None, False, False)
        dtype = real if kind[0] in "rs" else np.dtype(_ARRAYS[kind[0]])
        return cls(None, 0, dtype, kind.endswith("?"), kind[0] == "s")


def read(file: str) -> str:
    """Return the text of a file of kernels/cuda."""
    return (resources.files("yosort.kernels") / "cuda" / file).read_text(encoding="utf-8")


def source(name: str) -> str:
    """Return the text of a .cu file, the common part in front."""
    return read("common.cuh") + "\n" + read(f"{name}.cu")


class Launcher:
    """The kernels of one device and compute type.

    Args:
        cupy: the module.
        dtype: of activations, float32 or float16.
    """

    def __init__(self, cupy: Any, dtype: np.dtype[Any]) -> None:
        self.cupy = cupy
        self.dtype = dtype
        self._options = ("-DHALF",) if dtype == np.float16 else ()
        self._arguments = {
            name: [_Argument.of(kind, dtype) for kind in kinds.split()]
            for name, (_, kinds) in SIGNATURES.items()
        }
        self._functions: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.Lock()

    def __call__(
        self,
        name: str,
        grid: tuple[int, ...],
        threads: int,
        *arguments: Any,
        shared_bytes: int = 0,
        **defines: Define,
    ) -> None:
        """Launch a kernel on the current stream: compiled at first use for these `defines`.

        Raises:
            DeviceError: a launch that no device takes, or arguments that are not the kernel's.
        """
        if 0 in grid:
            return
        for size, limit in zip(grid, _GRID_LIMITS, strict=False):
            if size > limit:
                raise DeviceError.wanted(name, f"a grid of at most {limit} blocks", got=size)
        checked = self._check(name, arguments)
        # Streams and threads share what is compiled; CuPy itself caches the binaries on disk.
        key = (name, shared_bytes, *defines.items())
        function = self._functions.get(key) or self._compile(key, name, shared_bytes, defines)
        function(grid, (threads,), checked, shared_mem=shared_bytes)

    def _check(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        wanted = self._arguments[name]
        if len(wanted) != len(arguments):
            raise DeviceError.wanted(name, f"{len(wanted)} arguments", got=len(arguments))
        checked = []
        for i, (place, argument) in enumerate(zip(wanted, arguments, strict=True)):
            if place.number is not None:
                if not -place.largest <= argument <= place.largest:
                    raise DeviceError.wanted(
                        f"{name}: argument {i}", f"at most {place.largest}", got=argument
                    )
                checked.append(place.number(argument))
            elif argument is None and place.optional:
                checked.append(_NULL)
            elif not isinstance(argument, self.cupy.ndarray) or argument.dtype != place.dtype:
                got = getattr(argument, "dtype", type(argument).__name__)
                raise DeviceError.wanted(f"{name}: argument {i}", f"a {place.dtype} array", got=got)
            elif not argument.flags.c_contiguous and not (
                place.strided and argument.ndim == 2 and argument.strides[1] == argument.itemsize
            ):
                raise DeviceError(f"{name}: argument {i}: wanted rows without gaps")
            else:
                checked.append(argument)
        return tuple(checked)

    def _compile(
        self, key: tuple[Any, ...], name: str, shared_bytes: int, defines: dict[str, Define]
    ) -> Any:
        with self._lock:
            if key not in self._functions:
                options = ("--std=c++14", *(f"-D{k}={v}" for k, v in defines.items()))
                module = self.cupy.RawModule(
                    code=source(SIGNATURES[name][0]), options=options + self._options
                )
                function = module.get_function(name)
                if shared_bytes > 48 << 10:
                    # More than every device grants unasked.
                    function.max_dynamic_shared_size_bytes = shared_bytes
                self._functions[key] = function
            return self._functions[key]
