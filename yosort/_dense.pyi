from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort._threads import ThreadPool
from yosort.quantized import Quantized, Weight

Floats = npt.NDArray[np.float32]

ACTIVATION_CODES: dict[str, int]

def request_tiles() -> bool | None: ...
def available_instruction_sets() -> list[str]: ...

class Kernels:
    def __init__(self, name: str | None = None) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def slice(self) -> int: ...
    @property
    def products(self) -> list[str]: ...
    def multiplies(self, name: str) -> bool: ...

def quantize(kernels: Kernels, weight: Weight) -> Quantized: ...

class PackedLinear:
    in_features: int
    out_features: int
    kind: str
    panels: Floats
    padded_bias: Floats
    scales: Floats | None
    def __init__(
        self,
        kernels: Kernels,
        weights: Sequence[Weight],
        biases: Sequence[npt.NDArray[Any] | None],
        kind: str = "float32",
    ) -> None: ...
    def rows(self, ids: npt.NDArray[np.int64]) -> Floats: ...
    @property
    def nbytes(self) -> int: ...

def linear(
    kernels: Kernels,
    pool: ThreadPool,
    x: Floats,
    packed: PackedLinear,
    activation: int,
    out: Floats,
) -> None: ...
def worth_fusing(pool: ThreadPool, rows: int) -> bool: ...
def layer_tail(
    kernels: Kernels,
    pool: ThreadPool,
    context: Floats,
    x: Floats,
    output: PackedLinear,
    scale1: Floats,
    shift1: Floats,
    eps1: float,
    up: PackedLinear,
    activation: int,
    down: PackedLinear,
    scale2: Floats,
    shift2: Floats,
    eps2: float,
    following: PackedLinear | None,
    out: Floats,
    next_out: Floats | None,
) -> None: ...
def layer_norm(
    kernels: Kernels,
    pool: ThreadPool,
    x: Floats,
    residual: Floats | None,
    scale: Floats,
    shift: Floats,
    eps: float,
    out: Floats,
) -> None: ...
