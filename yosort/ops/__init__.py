"""The ops of YOSO attention as functions, and the choice of a backend.

`hash_signs`, `fast_hash`, `gaussian_hash`, `lsh_cumulation` and `expected_attention` take numpy (or
cupy) arrays and return the same kind. `get_ops` picks the backend that a model runs on: the only
place that does. Each op is defined in `reference`; `cpu` and `cuda` are the fast ones; `interface`
says what a backend must offer.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yosort.arguments import is_integer
from yosort.errors import ConfigError, DeviceError, show
from yosort.ops import checks
from yosort.ops.hashing import hash_signs
from yosort.ops.interface import Ops

if TYPE_CHECKING:
    from yosort.ops.cpu.backend import Functional
    from yosort.ops.cuda.functional import CudaFunctional

__all__ = [
    "expected_attention",
    "fast_hash",
    "gaussian_hash",
    "get_ops",
    "hash_signs",
    "lsh_cumulation",
]

_log = logging.getLogger("yosort")

#: Compute types of the GPU backend.
GPU_TYPES = ("float32", "float16")
#: Those of the CPU backend.
CPU_TYPES = ("float32", "int8")
#: What else people call them.
_TYPE_NAMES = {
    "auto": "float32",
    "float": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
}


def get_ops(device: str = "auto", *, dtype: str = "float32", num_threads: int | None = None) -> Ops:
    """Return the backend for a device.

    Args:
        device: "auto" (a usable GPU, or the CPU; the choice is logged), "cpu", "cuda", "cuda:N",
            or "reference" (plain NumPy in float64, for tests and study); -1 is the CPU, N cuda:N.
        dtype: compute type: "float32"; "float16" on a GPU; "int8" on a CPU.
        num_threads: CPU threads a call may use; None for what environment and machine say.

    Raises:
        ConfigError: no such device name or dtype.
        DeviceError: the device cannot be used, and why.
    """
    device = check_device(device)
    name = check_dtype(dtype)
    # int8 is the CPU's alone, and "auto" need not look further.
    if (device == "auto" and name != "int8") or device.startswith("cuda"):
        found = _gpu(device)
        if found is not None:
            from yosort.ops.cuda.backend import CudaOps

            if name not in GPU_TYPES:
                wanted = " or ".join(f'"{known}"' for known in GPU_TYPES)
                raise ConfigError(f"dtype: wanted {wanted} on a GPU, got {show(dtype)}")
            return CudaOps(*found, dtype=name)
    if device == "reference":
        if name != "float32":
            raise ConfigError(f'dtype: wanted "float32" of the reference, got {show(dtype)}')
        from yosort.ops.plain import PlainOps

        return PlainOps()
    if name not in CPU_TYPES:
        wanted = " or ".join(f'"{known}"' for known in CPU_TYPES)
        raise ConfigError(f"dtype: wanted {wanted} on the CPU, got {show(dtype)}")
    with _compiled_part():
        from yosort.ops.cpu.backend import CpuOps
        from yosort.ops.cpu.int8 import Int8Ops
    if name == "int8":
        return Int8Ops(num_threads)
    return CpuOps(num_threads)


@contextmanager
def _compiled_part() -> Iterator[None]:
    """Say what it means where the compiled part is not: a checkout has but its source."""
    try:
        yield
    except ImportError as error:
        folder = Path(__file__).parent.parent
        raise DeviceError(
            f"{folder} lacks its compiled part ({error}). If this is a checkout that hides the "
            "installed yosort, run Python from another folder; else install yosort again"
        ) from error


def check_device(device: Any) -> str:
    """Return the name of a device; transformers' numbers (-1: the CPU) are names, too.

    Raises:
        ConfigError: no such device.
    """
    if device is None:
        return "auto"
    if isinstance(device, str) and re.fullmatch("-1|[0-9]{1,9}", device):  # as a shell hands it on
        device = int(device)
    if is_integer(device) and device >= -1:
        return "cpu" if device == -1 else f"cuda:{device}"
    name = str(device).lower() if isinstance(device, str) or _is_of_torch(device) else ""
    if name in ("auto", "cpu", "cuda", "reference") or re.fullmatch("cuda:[0-9]{1,9}", name):
        return name
    raise ConfigError(
        f'device: wanted "auto", "cpu", "cuda", "cuda:N", -1 (the CPU) or N (cuda:N), '
        f"got {show(device)}"
    )


def check_dtype(dtype: Any) -> str:
    """Return the name of a compute type that some backend has.

    None and "auto" are float32: what every checkpoint may be computed in, wherever it runs. Types
    of NumPy's and torch's count by their names.

    Raises:
        ConfigError: no such type.
    """
    if dtype is None:
        return "float32"
    name = ""
    if isinstance(dtype, (str, np.dtype)) or _is_of_torch(dtype):
        name = str(dtype).lower().removeprefix("torch.")
    elif isinstance(dtype, type) and issubclass(dtype, np.generic):
        name = np.dtype(dtype).name
    name = _TYPE_NAMES.get(name, name)
    if name not in (*CPU_TYPES, *GPU_TYPES):
        known = " or ".join(f'"{name}"' for name in dict.fromkeys((*GPU_TYPES, *CPU_TYPES)))
        raise ConfigError(f"dtype: wanted {known}, got {show(dtype)}")
    return name


def _is_of_torch(value: Any) -> bool:
    """Whether a value is torch's: its devices and types have our names, and torch is not here."""
    return type(value).__module__.split(".")[0] == "torch"


def _gpu(device: str) -> tuple[Any, int] | None:
    """Return (cupy, index); None where "auto" finds no GPU, which is logged with the reason."""
    from yosort.ops.cuda.finding import find_gpu

    if device != "auto":
        return find_gpu(device)
    try:
        found = find_gpu()
    except DeviceError as error:
        _log.info("device='auto': using the CPU (%s)", error)
        return None
    _log.info("device='auto': using cuda:%d", found[1])
    return found


def fast_hash(x: Any, signs: Any, *, num_hash: int, hash_code_len: int, mask: Any = None) -> Any:
    """Hash rows by random rotations; `definitions.fast_hash` is the definition.

    Args:
        x: float32 [batch, n, dim].
        signs: int8 [batch, 3, parts, hash_dim], from `hash_signs`.
        num_hash: how many functions.
        hash_code_len: bits per code, 1 to 16.
        mask: [batch, n] of 0 and 1; masked rows get code 0.

    Returns:
        int32 [batch, n, num_hash], the same bits on every backend.

    Raises:
        InputError: shapes, sizes or values that do not fit.
    """
    checks.check_fast_hash(x, signs, num_hash, hash_code_len, mask)
    codes = _functions(x).fast_hash(x, signs, int(num_hash), int(hash_code_len))
    return codes if mask is None else codes * (mask != 0)[..., None]


def gaussian_hash(
    x: Any, projection: Any, *, num_hash: int, hash_code_len: int, mask: Any = None
) -> Any:
    """Hash rows by random hyperplanes; `definitions.gaussian_hash` is the definition.

    Args:
        x: float32 [batch, n, dim].
        projection: float32 [batch, dim, num_hash * hash_code_len].
        num_hash: how many functions.
        hash_code_len: bits per code, 1 to 16.
        mask: [batch, n] of 0 and 1; masked rows get code 0.

    Returns:
        int32 [batch, n, num_hash]. A projection within rounding of 0 may fall either way.

    Raises:
        InputError: shapes, sizes or values that do not fit.
    """
    checks.check_gaussian_hash(x, projection, num_hash, hash_code_len, mask)
    codes = _functions(x).gaussian_hash(x, projection, int(num_hash), int(hash_code_len))
    return codes if mask is None else codes * (mask != 0)[..., None]


def lsh_cumulation(
    query_codes: Any,
    key_codes: Any,
    value: Any,
    *,
    hash_code_len: int,
    query_mask: Any = None,
    key_mask: Any = None,
) -> Any:
    """Average over hashes the sum of the values that share a query's bucket.

    `definitions.lsh_cumulation` is the definition.

    Args:
        query_codes: integers [batch, n_query, num_hash] in [0, 2 ** hash_code_len).
        key_codes: integers [batch, n_key, num_hash], likewise.
        value: float32 [batch, n_key, dim].
        hash_code_len: bits per code, 1 to 16.
        query_mask: [batch, n_query] of 0 and 1; masked rows come back as zeros.
        key_mask: [batch, n_key] of 0 and 1; masked rows are in no bucket.

    Returns:
        float32 [batch, n_query, dim], the same bits for any number of threads.

    Raises:
        InputError: shapes, sizes or values that do not fit.
    """
    checks.check_lsh_cumulation(query_codes, key_codes, value, hash_code_len, query_mask, key_mask)
    return _functions(value).lsh_cumulation(
        query_codes, key_codes, value, int(hash_code_len), query_mask, key_mask
    )


def expected_attention(
    query: Any,
    key: Any,
    value: Any,
    *,
    hash_code_len: int,
    query_mask: Any = None,
    key_mask: Any = None,
) -> Any:
    """Weigh the values by the probability that their key's code is the query's (YOSO-E).

    `definitions.expected_attention` is the definition; no n x n array is made.

    Args:
        query: float32 [batch, n_query, dim], rows L2-normalised already.
        key: float32 [batch, n_key, dim], likewise.
        value: float32 [batch, n_key, value_dim].
        hash_code_len: bits per code, 1 to 16.
        query_mask: [batch, n_query] of 0 and 1; masked rows come back as zeros.
        key_mask: [batch, n_key] of 0 and 1; masked rows do not count.

    Returns:
        float32 [batch, n_query, value_dim].

    Raises:
        InputError: shapes, sizes or values that do not fit.
    """
    checks.check_expected_attention(query, key, value, hash_code_len, query_mask, key_mask)
    return _functions(query).expected_attention(
        query, key, value, int(hash_code_len), query_mask, key_mask
    )


def _functions(array: Any) -> Functional | CudaFunctional:
    """Return the functional ops of the kind of array that was given."""
    if type(array).__module__.partition(".")[0] == "cupy":
        from yosort.ops.cuda.functional import CudaFunctional

        return CudaFunctional(sys.modules["cupy"])
    with _compiled_part():
        from yosort.ops.cpu.backend import Functional
    return Functional()
