"""The ops of YOSO attention as functions, and the choice of a backend.

`hash_signs`, `fast_hash`, `gaussian_hash`, `lsh_cumulation` and `expected_attention` take numpy (or
cupy) arrays and return the same kind. `get_ops` picks the backend that a model runs on. Each op is
defined in `definitions`; `cpu` and `cuda` are the fast ones; `interface` says what a backend must
offer.
"""

from pathlib import Path

from yosort.errors import DeviceError

try:
    from yosort.ops.choice import get_ops
    from yosort.ops.functional import expected_attention, fast_hash, gaussian_hash, lsh_cumulation
    from yosort.ops.hashing import hash_signs
except ImportError as error:  # a checkout has but the source of the compiled part
    raise DeviceError(
        f"{Path(__file__).parent.parent} lacks its compiled part ({error}). If this is a checkout "
        "that hides the installed yosort, run Python from another folder; out of a zip file Python "
        "imports no compiled part: unpack it; else install yosort again"
    ) from error

__all__ = [
    "expected_attention",
    "fast_hash",
    "gaussian_hash",
    "get_ops",
    "hash_signs",
    "lsh_cumulation",
]
