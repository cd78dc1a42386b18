import numpy as np
import numpy.typing as npt

from yosort._dense import Kernels
from yosort._threads import ThreadPool

Floats = npt.NDArray[np.float32]
Offsets = npt.NDArray[np.int64]

def expected_attention(
    kernels: Kernels,
    pool: ThreadPool,
    query: Floats,
    key: Floats,
    value: Floats,
    query_offsets: Offsets,
    offsets: Offsets,
    heads: int,
    hash_code_len: int,
    normalize: bool,
    out: Floats,
    kind: str = "float32",
) -> None: ...
