"""What the host does for a call on a GPU, counted: launches, copies, waits, Python's own steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LAYERS = 3
#: call -> (launches, products, CuPy's own kernels, copies to the device) of so many layers
WANTED = {
    "exact": (7 * LAYERS + 1, 4 * LAYERS, 0, 2),
    "sampled": (7 * LAYERS + 1, 4 * LAYERS, 0, 2),
    "sampled, a seed": (7 * LAYERS + 1, 4 * LAYERS, 0, 2 + LAYERS),
    "sampled, slow hash": (8 * LAYERS + 1, 6 * LAYERS, 0, 2),
    "sampled, convolution": (8 * LAYERS + 1, 4 * LAYERS, 0, 2),
    # The answer's padding is CuPy's: zeros, and rows put among them.
    "auto, mixed lengths": (10 * LAYERS + 1, 4 * LAYERS, 2, 3),
}
#: Python functions entered a launch, NumPy's among them: whatever asks for a type's name costs ten.
STEPS = 9
#: And once a call: its arguments are read and checked, its texts packed.
ONCE = 150


@pytest.fixture(scope="module")
def gpu_host() -> Any:
    """Return the benchmark."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import gpu_host as module

        yield module
    sys.modules.pop("gpu_host")


@pytest.fixture(scope="module")
def calls(gpu_host: Any) -> Any:
    """Return its calls."""
    return gpu_host.calls(LAYERS, hidden=96)


@pytest.mark.parametrize("what", WANTED)
def test_what_a_call_does(gpu_host: Any, calls: Any, what: str) -> None:
    found = gpu_host.measure(*calls[what], repeats=1)
    names = ("launches", "products", "kernels of CuPy", "copies to the device")
    assert tuple(found.get(name, 0) for name in names) == WANTED[what]
    assert found.get("waits", 0) == 0
    drawn = 50 * LAYERS if "seed" in what else 0
    assert found["Python calls"] <= STEPS * found["launches"] + ONCE + drawn
