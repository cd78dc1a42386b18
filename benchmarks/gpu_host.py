"""Count and time what the host does for a forward on a GPU, with all that the GPU does left out.

    python benchmarks/gpu_host.py [--layers 12] [--profile]

CuPy is replaced by arrays that are never read or written, launches and products by nothing: what
remains is yosort's own Python. Counts do not depend on the machine: launches of ours, products,
CuPy's own kernels, copies to the device, waits, and calls of Python functions. CuPy's own time for
each of them comes on top; `python tools/gpu_first_run first` measures both on a device.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import time
import types
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

import yosort
from yosort.model.answering import Answering
from yosort.ops.cuda.backend import CudaOps

counts: Counter[str] = Counter()


class Nothing(np.ndarray):
    """An array of a device, of which only shape, type and strides count."""

    data = types.SimpleNamespace(ptr=0)  # type: ignore[assignment]

    def get(self) -> np.ndarray:
        """Wait, and return it."""
        counts["waits"] += 1
        return self.view(np.ndarray)

    def astype(self, dtype: Any, copy: bool = True) -> Any:  # type: ignore[override]
        """Return it in another type."""
        return self if not copy and self.dtype == dtype else computed(self.shape, dtype)

    def __add__(self, other: Any) -> Nothing:
        return computed(self.shape, self.dtype)

    __mul__ = __add__

    def repeat(self, count: int) -> Nothing:  # type: ignore[override]
        """Return it longer."""
        return computed(self.size * count, self.dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        counts["kernels of CuPy"] += 1


def empty(shape: Any, dtype: Any = float) -> Nothing:
    """Return an array."""
    return np.empty(shape, dtype).view(Nothing)


def computed(shape: Any, dtype: Any) -> Nothing:
    """Return what a kernel of CuPy's own would have made."""
    counts["kernels of CuPy"] += 1
    return empty(shape, dtype)


def asarray(values: Any, dtype: Any = None) -> Any:
    """Return an array of the device."""
    if isinstance(values, Nothing):
        return values if dtype is None else values.astype(dtype, copy=False)
    counts["copies to the device"] += 1
    return empty(np.shape(values), dtype or np.asarray(values).dtype)


def matmul(left: Nothing, right: Nothing) -> Nothing:
    """Return an array of the product's shape."""
    counts["products"] += 1
    return empty((*left.shape[:-1], right.shape[-1]), left.dtype)


def take(x: Nothing, rows: Nothing, axis: int) -> Nothing:
    """Return an array of the rows' shape."""
    return computed((len(rows), *x.shape[1:]), x.dtype)


class Module:
    """A source that is never compiled."""

    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        self.max_dynamic_shared_size_bytes = 0

    def get_function(self, name: str) -> Module:
        """Return a kernel that does nothing."""
        return self

    def __call__(self, grid: Any, block: Any, arguments: Any, *, shared_mem: int) -> None:
        counts["launches"] += 1


class Device(nullcontext[None]):
    """The device that is not there."""

    compute_capability, id = "90", 0
    attributes = types.MappingProxyType({"MultiProcessorCount": 132})
    mem_info = (1 << 40, 1 << 40)


def wait() -> None:
    """Count a wait."""
    counts["waits"] += 1


def nothing_of_cupy() -> Any:
    """Return the module."""
    pool = types.SimpleNamespace(free_all_blocks=lambda: None, free_bytes=lambda: 0)
    stream = types.SimpleNamespace(synchronize=wait)
    return types.SimpleNamespace(
        ndarray=Nothing,
        empty=empty,
        zeros=computed,
        ones=computed,
        asarray=asarray,
        array=lambda values, dtype: computed(values.shape, dtype),
        matmul=matmul,
        take=take,
        RawModule=Module,
        get_default_memory_pool=lambda: pool,
        get_default_pinned_memory_pool=lambda: pool,
        cuda=types.SimpleNamespace(
            Device=lambda index=0: Device(), get_current_stream=lambda: stream
        ),
    )


def model_of(attention: str, **fields: Any) -> Any:
    """Return YOSO-base with a small vocabulary on the device that is not there."""
    config = yosort.YosoConfig(vocab_size=100, num_hash=32, **fields)
    model = yosort.YosoModel(config, device="cpu", attention=attention)
    model._set_up(config, model._parameters, None, model._options, CudaOps(nothing_of_cupy()))
    return model


def python_calls(call: Callable[[], Any]) -> int:
    """Return how many Python functions a call enters, NumPy's among them, but none of this file."""
    entered = 0

    def note(frame: types.FrameType, event: str, argument: Any) -> None:
        nonlocal entered
        entered += event == "call" and frame.f_code.co_filename != __file__

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered


def measure(model: Answering, call: Callable[[], Any], repeats: int = 30) -> dict[str, float]:
    """Return a call's counts, and the median of its milliseconds."""
    call()
    counts.clear()
    call()
    found: dict[str, float] = dict(counts)
    found["Python calls"] = python_calls(call)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    return {**found, "ms": statistics.median(times)}


def calls(layers: int, hidden: int = 768) -> dict[str, tuple[Any, Callable[[], Any]]]:
    """Return the calls that are looked at, and their models: batch 1, 128 tokens, or mixed."""
    ids = np.random.default_rng(0).integers(3, 100, (1, 128))
    many = np.random.default_rng(0).integers(3, 100, (8, 512))
    mask = (np.arange(512) < np.arange(64, 513, 64)[:, None]).astype(np.int64)
    sizes = {"num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": 4 * hidden}
    exact, sampled = (model_of(form, **sizes) for form in ("expectation", "sampled"))
    slow = model_of("sampled", **sizes, use_fast_hash=False)
    convolved = model_of("sampled", **sizes, conv_window=9)
    auto = model_of("auto:200", **sizes)
    return {
        "exact": (exact, lambda: exact(ids)),
        "sampled": (sampled, lambda: sampled(ids)),
        "sampled, a seed": (sampled, lambda: sampled(ids, seed=1)),
        "sampled, slow hash": (slow, lambda: slow(ids)),
        "sampled, convolution": (convolved, lambda: convolved(ids)),
        "auto, mixed lengths": (auto, lambda: auto(many, mask)),
    }


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--profile", action="store_true", help="where the time of each goes")
    arguments = parser.parse_args()
    names = ("launches", "products", "kernels of CuPy", "copies to the device", "waits")
    head = ("call", *names, "Python calls", "ms")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for what, (model, call) in calls(arguments.layers).items():
        found = measure(model, call)
        figures = [f"{found.get(name, 0):,.0f}" for name in (*names, "Python calls")]
        print(f"| {' | '.join((what, *figures))} | {found['ms']:.2f} |", flush=True)
        if arguments.profile:
            with cProfile.Profile() as profile:
                for _ in range(10):
                    call()
            pstats.Stats(profile).sort_stats("tottime").print_stats(18)
    return 0


if __name__ == "__main__":
    sys.exit(main())
