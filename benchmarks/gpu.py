"""Time the GPU kernels and whole forwards on a real device, beside what its memory allows.

    python benchmarks/gpu.py [--shapes 1x512 32x512] [--dtype float32] [--json out.json]

`gpu` is the device's own time: CUDA events around calls that wait in its queue behind a spinning
kernel, so that the host's time does not count. `host` is what it takes to enqueue a call, `wall`
what a caller waits for an answer. A kernel's floor is the time that its bytes take at the bandwidth
of a device-to-device copy, measured in the same run; data that fit the card's cache may beat it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import yosort
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.hashing import hash_signs
from yosort.ops.interface import HashFunctions, LayerNorm, Layout

Row = dict[str, Any]
VOCABULARY = 2000
#: Launches that a stream's queue holds, and then some.
QUEUE = 600


@dataclass(frozen=True)
class Sizes:
    """Of the model whose layers are timed: YOSO-base, or one for a rehearsal."""

    heads: int = 12
    head_dim: int = 64
    layers: int = 12
    num_hash: int = 32
    code_len: int = 9
    repeats: int = 4
    seconds: float = 0.5

    @property
    def hidden(self) -> int:
        """Its width."""
        return self.heads * self.head_dim

    def config(self, **fields: Any) -> yosort.YosoConfig:
        """Return its configuration, with a small vocabulary."""
        given: dict[str, Any] = {
            "vocab_size": VOCABULARY,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": 4 * self.hidden,
            "max_position_embeddings": 4096,
            "hash_code_len": self.code_len,
            "num_hash": self.num_hash,
            "num_labels": 3,
        }
        return yosort.YosoConfig(**{**given, **fields})


BASE, REHEARSAL = Sizes(), Sizes(1, 8, 1, 2, 4, repeats=1, seconds=0.0)


def draw(seed: int, *shape: int) -> np.ndarray:
    """Return standard normals, the same rows again after 4,096."""
    rows = np.random.default_rng(seed).standard_normal((min(shape[0], 4096), *shape[1:]))
    return np.resize(rows.astype(np.float32), shape)


@cache
def _spinner(cupy: Any) -> Any:
    code = """extern "C" __global__ void spin(long long cycles) {
        const long long begin = clock64();
        while (clock64() - begin < cycles) {}
    }"""
    return cupy.RawModule(code=code, options=("--std=c++14",)).get_function("spin")


def measure(cupy: Any, call: Callable[[], Any], sizes: Sizes, launches: int = 4) -> Row:
    """Return milliseconds a call: of the device, and of the host to enqueue it.

    Args:
        cupy: the module.
        call: what is timed; it leaves `launches` in the queue, which must not fill.
        sizes: how often.
        launches: see above.
    """
    for _ in range(sizes.repeats):
        call()
    cupy.cuda.Device().synchronize()
    begin = time.perf_counter()
    call()
    host = time.perf_counter() - begin
    cupy.cuda.Device().synchronize()
    whole = time.perf_counter() - begin
    calls = max(1, min(20, QUEUE // launches, int(0.06 / whole)))
    found = []
    for _ in range(sizes.repeats):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        _spinner(cupy)((1,), (1,), (np.int64(1.9e9 * min(0.25, host * calls * 1.5 + 0.003)),))
        start.record()
        for _ in range(calls):
            call()
        stop.record()
        stop.synchronize()
        found.append(cupy.cuda.get_elapsed_time(start, stop) / calls)
    return {"gpu_ms": statistics.median(found), "host_ms": host * 1e3}


def wall(call: Callable[[], Any], sizes: Sizes) -> Row:
    """Return milliseconds until a call's answer is on the host: median, and 90th percentile."""
    times, end = [], time.perf_counter() + sizes.seconds
    while time.perf_counter() < end or len(times) < sizes.repeats:
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    times.sort()
    return {"wall_ms": statistics.median(times), "wall90_ms": times[len(times) * 9 // 10]}


def bandwidth(cupy: Any, sizes: Sizes) -> float:
    """Return bytes a second of a copy of 1 GB, read and written."""
    source = cupy.zeros(1 << 28 if sizes == BASE else 1 << 12, np.float32)
    target = cupy.zeros(source.shape, np.float32)
    copied = measure(cupy, lambda: cupy.copyto(target, source), sizes, 1)
    return float(2 * source.nbytes / copied["gpu_ms"] * 1e3)


def cases(
    cupy: Any, batch: int, n: int, dtype: str, sizes: Sizes
) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Yield a layer's parts for a batch of texts of n tokens: name, least bytes moved, call."""
    ops, rows, hidden = CudaOps(cupy, dtype=dtype), batch * n, sizes.hidden
    item, heads = np.dtype(dtype).itemsize, sizes.heads
    num_hash, code_len = sizes.num_hash, sizes.code_len
    offsets = np.arange(batch + 1, dtype=np.int64) * n
    where, exact = (
        ops.layout(Layout(heads, code_len, offsets, offsets, np.full(batch, sampled)))
        for sampled in (True, False)
    )
    qkv = ops.from_host(draw(1, rows, 3 * hidden).astype(dtype))
    query, key, value = (qkv[:, i * hidden : (i + 1) * hidden] for i in range(3))
    signs = hash_signs(num_hash, code_len, sizes.head_dim, heads=heads, seed=0)
    functions = ops.hash_functions(HashFunctions(num_hash, signs=signs))
    kernels = ops._kernels
    codes = kernels.codes(query, key, functions, code_len)
    sums = kernels.cumulate(*codes, value, where)
    context = cupy.empty((rows, hidden), dtype)
    vector = cupy.ones(hidden, np.float32)
    norm = LayerNorm(vector, vector, 1e-12)
    x = ops.from_host(draw(2, rows, hidden).astype(dtype))
    wide = ops.linear_map([draw(3, 4 * hidden, hidden)], [draw(4, 4 * hidden)])
    code_bytes, out = 2 * 2 * heads * num_hash * rows, rows * hidden * item
    product = out + (4 * hidden * hidden + 4 * rows * hidden) * item
    yield (
        "hadamard_hash",
        2 * out + code_bytes,
        lambda: kernels.codes(query, key, functions, code_len),
    )
    yield (
        "lsh_cumulation",
        out + code_bytes + sums.nbytes,
        lambda: kernels.cumulate(*codes, value, where),
    )
    yield (
        "normalize_heads",
        sums.nbytes + out,
        lambda: kernels.finish(sums, None, heads, 1 / num_hash, context, normalize=True),
    )
    yield (
        "sampled attention, whole",
        4 * out,
        lambda: ops.attention(query, key, value, where, functions),
    )
    yield (
        "expected attention, whole",
        4 * out,
        lambda: ops.attention(query, key, value, exact),
    )
    if dtype == "float16" and int(cupy.cuda.Device().compute_capability) >= 80:
        tensor = CudaOps(cupy, dtype=dtype, tensor_cores=True)
        yield (
            "expected attention on tensor cores, whole",
            4 * out,
            lambda: tensor.attention(query, key, value, exact),
        )
    yield "product, hidden to 4 hidden", product, lambda: ops._product(x, wide[0])
    yield "linear, the same with gelu", product, lambda: ops.linear(x, wide, "gelu")
    yield "layer norm", 2 * out, lambda: ops.layer_norm(x, norm)


def kernels(cupy: Any, batch: int, n: int, dtype: str, sizes: Sizes = BASE) -> Iterator[Row]:
    """Time each part of a layer."""
    for name, size, call in cases(cupy, batch, n, dtype, sizes):
        shape = {"what": name, "dtype": dtype, "batch": batch, "n": n, "bytes": size}
        yield {**shape, **measure(cupy, call, sizes)}


def fetch(call: Callable[[], Any]) -> Any:
    """Return an answer's hidden states on the host."""
    return call().last_hidden_state.get()


def forwards(
    cupy: Any, shapes: list[tuple[int, int]], dtype: str, sizes: Sizes = BASE
) -> Iterator[Row]:
    """Time whole forwards of an untrained model in both forms of attention."""
    for form in ("expectation", "sampled"):
        model = yosort.YosoModel(sizes.config(), seed=1, device="cuda", dtype=dtype, attention=form)
        for batch, n in shapes:
            ids = np.random.default_rng(0).integers(3, VOCABULARY, (batch, n))
            call = partial(model, ids)
            row = {"what": f"forward, {form}", "dtype": dtype, "batch": batch, "n": n}
            answer = wall(partial(fetch, call), sizes)
            yield {**row, **answer, **measure(cupy, call, sizes, 12 * sizes.layers)}


def main() -> int:
    """Print a Markdown table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16"))
    parser.add_argument("--shapes", nargs="+", default=["1x512", "1x4096", "32x512"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from yosort.ops.cuda.finding import find_gpu

    cupy, index = find_gpu()
    shapes = [tuple(map(int, shape.split("x"))) for shape in arguments.shapes]
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    speed = bandwidth(cupy, BASE)
    print(f"{name}: a copy moves {speed / 1e9:.0f} GB/s\n")
    print("| what | batch x n | GPU, ms | host, ms | wall, ms | GPU over its floor |")
    print("|---|---|---|---|---|---|")
    results = []
    for row in (
        *(row for batch, n in shapes for row in kernels(cupy, batch, n, arguments.dtype)),
        *forwards(cupy, shapes, arguments.dtype),
    ):
        results.append(row)
        ratio = f"{row['gpu_ms'] * speed / row['bytes'] / 1e3:.1f}" if "bytes" in row else ""
        waited = f"{row['wall_ms']:.2f}" if "wall_ms" in row else ""
        print(
            f"| {row['what']} | {row['batch']} x {row['n']} | {row['gpu_ms']:.3f} | "
            f"{row['host_ms']:.3f} | {waited} | {ratio} |",
            flush=True,
        )
    if arguments.json:
        found = {"device": name, "copy_bytes_per_second": speed, "results": results}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
