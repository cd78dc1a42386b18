"""The backends that every case runs on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from emulator import build, fake_cupy
from emulator.conftest import ending, mutant, record  # noqa: F401
from tolerances import HALF

from ops.cases import Attention, Case, Codes, exact_product
from yosort._dense import available_instruction_sets
from yosort.ops import definitions
from yosort.ops.cpu.backend import CpuOps, request_tiles
from yosort.ops.cpu.bfloat16 import Bfloat16Ops
from yosort.ops.cpu.int8 import FEW_ROWS, Int8Ops
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.plain import PlainOps

request_tiles()
#: The order of an instruction set's sums of bfloat16 that is not all others'.
ORDERS = {"amx": "tiles", "mmla": "odd"}
VARIANTS = available_instruction_sets()
#: The definition of each kind of product.
PRODUCTS = {
    "float32": exact_product,
    "bfloat16, words": definitions.bfloat16_linear,
    "bfloat16, odd": partial(definitions.bfloat16_linear, order="odd"),
    "bfloat16, tiles": partial(definitions.bfloat16_linear, order="tiles"),
    "int8": definitions.quantized_linear,
}


@dataclass(frozen=True)
class Backend:
    """One backend, in one type, with one set of kernels.

    Attributes:
        name: what tests call it.
        make: returns its ops for so many threads (in the emulator: for this order of the device's
            own), or skips the test.
        dtype: what activations come in.
        kind: what its products multiply, which is what large tables hold, too, if it is "int8".
        takes: tells which cases it is for.
    """

    name: str
    make: Callable[[int], Any]
    dtype: Any = np.float32
    kind: str = "float32"
    takes: Callable[[Case], bool] = lambda case: True

    @property
    def attention_type(self) -> str:
        """What the products of expected attention multiply."""
        return "bfloat16" if self.kind == "int8" else self.kind.split(",")[0]

    def product(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return x @ weight.T + bias as this backend defines it."""
        return PRODUCTS[self.kind](x, weight, bias)

    def table(self, rows: np.ndarray) -> np.ndarray:
        """Return what this backend holds of an embedding table."""
        if self.kind != "int8" or len(rows) < FEW_ROWS:
            return rows
        values, scales = definitions.quantize(rows)
        return np.asarray(values * scales.astype(np.float64)[:, None])

    def draw(self, case: Case) -> dict[str, np.ndarray]:
        """Return a case's arrays in this backend's type."""
        return {name: array.astype(self.dtype) for name, array in case.draw().items()}

    def run(self, case: Case, arrays: dict[str, np.ndarray], threads: int = 1) -> list[np.ndarray]:
        """Return the answers on the host."""
        ops = self.make(threads)
        with ops.running():
            return [ops.to_host(answer) for answer in case.run(ops, arrays)]

    def check(self, case: Case, threads: int = 3) -> None:
        """Compare a case's answers with the definition's."""
        arrays = self.draw(case)
        wanted = case.answers({n: a.astype(np.float64) for n, a in arrays.items()}, self)
        rounding = case.roundings * HALF if self.dtype == np.float16 else 0.0
        for got, (value, bound) in zip(self.run(case, arrays, threads), wanted, strict=True):
            assert got.shape == value.shape
            assert self.name == "plain" or got.dtype in (self.dtype, np.uint16)
            error = np.abs(got - value)
            assert (error <= bound + rounding * np.abs(value).max(initial=0.0)).all()


def plain(_: int) -> PlainOps:
    """Return the definitions' own backend, which has no threads."""
    return PlainOps()


def need_emulator() -> ModuleType:
    """Return the emulator's stand-in for CuPy where it can compile and switch stacks."""
    if build.compiler() is None:
        pytest.skip("no C++ compiler")
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("AddressSanitizer knows no stacks that are switched: tools/sanitize.sh")
    return fake_cupy


def emulated(dtype: str, order: int, tensor_cores: bool = False) -> CudaOps:
    """Return the GPU backend in the emulator, whose threads run in this order."""
    need_emulator()
    fake_cupy.seed = order
    return CudaOps(fake_cupy, dtype=dtype, tensor_cores=tensor_cores)


def real_cupy() -> ModuleType:
    """Return CuPy where it finds a device."""
    module: ModuleType = pytest.importorskip("cupy", exc_type=ImportError)
    if not module.cuda.is_available():
        pytest.skip("no CUDA device")
    return module


def cuda(dtype: str, _: int, tensor_cores: bool = False) -> CudaOps:
    """Return the GPU backend on a device."""
    return CudaOps(real_cupy(), dtype=dtype, tensor_cores=tensor_cores)


def named(backend: Backend, *case: Case) -> Any:
    """Return a parameter of tests: a backend, and a case for it; a device's have its mark."""
    marks = [pytest.mark.gpu] if backend.name.startswith("cuda") else []
    return pytest.param(backend, *case, id="-".join(map(str, (backend.name, *case))), marks=marks)


def is_exact(case: Case) -> bool:
    """Whether a case is of the exact form of attention."""
    return getattr(case, "form", "") == "expectation"


def is_light(case: Case) -> bool:
    """Whether a case is for float16 in the emulator: its kernels differ in what they load."""
    return not isinstance(case, Attention) or (
        case.width <= 64 and case.hash_code_len in (1, 4, 5, 9)
    )


CPU = [Backend(f"cpu-{variant}", partial(CpuOps, instruction_set=variant)) for variant in VARIANTS]
INT8 = [
    Backend(
        f"int8-{variant}",
        partial(Int8Ops, instruction_set=variant),
        kind="int8",
        takes=lambda case: case.weighs or is_exact(case),
    )
    for variant in VARIANTS
]
BFLOAT16 = [
    Backend(
        f"bfloat16-{variant}",
        partial(Bfloat16Ops, instruction_set=variant),
        kind=f"bfloat16, {ORDERS.get(variant, 'words')}",
        takes=lambda case: case.weighs or is_exact(case),
    )
    for variant in VARIANTS
]
EMULATED = [
    Backend("emulated-float32", partial(emulated, "float32")),
    Backend("emulated-float16", partial(emulated, "float16"), np.float16, takes=is_light),
    Backend(
        "emulated-tensor",
        partial(emulated, "float16", tensor_cores=True),
        np.float16,
        "float16",
        takes=lambda case: is_exact(case) and (is_light(case) or case.width > 64),
    ),
]
CUDA = [
    Backend("cuda-float32", partial(cuda, "float32")),
    Backend("cuda-float16", partial(cuda, "float16"), np.float16),
    Backend(
        "cuda-tensor",
        partial(cuda, "float16", tensor_cores=True),
        np.float16,
        "float16",
        takes=is_exact,
    ),
]
PLAIN = Backend("plain", plain, takes=lambda case: not isinstance(case, Codes))
BACKENDS = [PLAIN, *CPU, *INT8, *BFLOAT16, *EMULATED, *CUDA]


@pytest.fixture(scope="session", params=[named(b) for b in BACKENDS])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Return each backend in turn."""
    chosen: Backend = request.param
    return chosen


@pytest.fixture(autouse=True)
def order() -> Iterator[None]:
    """Leave the order of the emulator's threads as it was."""
    before = fake_cupy.seed
    yield
    fake_cupy.seed = before
