import numpy as np
import numpy.typing as npt

from yosort._dense import Kernels, PackedLinear
from yosort._threads import ThreadPool

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]
Offsets = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]

def hash_tokens(
    kernels: Kernels,
    pool: ThreadPool,
    x: Floats,
    sign_bits: npt.NDArray[np.int32],
    hash_code_len: int,
    codes: Codes,
) -> None: ...
def project_tokens(
    kernels: Kernels,
    pool: ThreadPool,
    x: Floats,
    projection: PackedLinear,
    hash_code_len: int,
    codes: Codes,
) -> None: ...
def cumulate(
    kernels: Kernels,
    pool: ThreadPool,
    query_codes: Codes,
    key_codes: Codes,
    value: Floats,
    query_offsets: Offsets,
    offsets: Offsets,
    hash_code_len: int,
    out: Floats,
) -> None: ...
def sampled_attention(
    kernels: Kernels,
    pool: ThreadPool,
    query: Floats,
    key: Floats,
    value: Floats,
    query_offsets: Offsets,
    offsets: Offsets,
    sign_bits: npt.NDArray[np.int32],
    num_hash: int,
    hash_code_len: int,
    out: Floats,
) -> None: ...
def normalize_heads(kernels: Kernels, pool: ThreadPool, x: Floats, heads: int) -> None: ...
def add_convolution(
    pool: ThreadPool,
    value: Floats,
    weight: Floats,
    query_offsets: Offsets,
    offsets: Offsets,
    query_slots: Slots,
    slots: Slots,
    keep: Floats | None,
    out: Floats,
) -> None: ...
