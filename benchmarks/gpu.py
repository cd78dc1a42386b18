"""Time the kernels of a layer and whole forwards on a GPU, by CUDA events.

    python benchmarks/gpu.py

Prints Markdown: medians, each kernel's ratio to copying the bytes that it must move, and, where
torch with CUDA is installed, the forward's ratio to transformers' eager YOSO-E in turn. Not yet
run: no GPU was at hand.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

import yosort
from yosort.ops.cuda import CudaOps
from yosort.ops.gpu import find_gpu
from yosort.ops.interface import HashFunctions, Heads
from yosort.ops.signs import hash_signs

HIDDEN, HEADS, DIM, CODE = 768, 12, 64, 9


def median_ms(cupy: Any, calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Return each call's median milliseconds on the device; the calls take turns."""
    for call in calls:
        call()
        call()
    times = []
    for _ in range(rounds):
        row = []
        for call in calls:
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            call()
            stop.record()
            stop.synchronize()
            row.append(cupy.cuda.get_elapsed_time(start, stop))
        times.append(row)
    return [float(t) for t in np.median(times, axis=0)]


def time_parts(cupy: Any, ops: CudaOps, lengths: list[int], rounds: int) -> None:
    """Print the attention's parts beside a copy of the bytes that each must read and write."""
    print("\n| n | part | ms | copy of its bytes, ms | ratio |\n|---|---|---|---|---|")
    for n in lengths:
        qkv = cupy.asarray(np.random.default_rng(0).standard_normal((n, 3 * HIDDEN), np.float32))
        query, key, value = (qkv[:, i * HIDDEN : (i + 1) * HIDDEN] for i in range(3))
        offsets = np.array([0, n])
        heads = Heads(HEADS, CODE, offsets, offsets)
        signs = hash_signs(32, CODE, DIM, heads=HEADS, seed=0)
        codes = ops.hadamard_hash(query, key, signs, 32, CODE)
        functions = HashFunctions(32, signs=signs)
        code_bytes, rows = 2 * codes[0].nbytes, 4 * n * HIDDEN
        parts: list[tuple[str, Callable[[], object], int]] = [
            (
                "hadamard_hash, 32",
                lambda q=query, k=key, s=signs: ops.hadamard_hash(q, k, s, 32, CODE),
                2 * rows + code_bytes,
            ),
            (
                "lsh_cumulation, 32",
                lambda c=codes, v=value, h=heads: ops.cumulate(*c, v, h),
                code_bytes + 2 * rows,
            ),
            (
                "sampled attention, 32",
                lambda q=query, k=key, v=value, h=heads, f=functions: ops.sampled_attention(
                    q, k, v, h, f
                ),
                4 * rows,
            ),
            (
                "expectation",
                lambda q=query, k=key, v=value, h=heads: ops.expected_attention(q, k, v, h),
                4 * rows,
            ),
        ]
        for name, call, nbytes in parts:
            source = cupy.zeros(nbytes // 8, np.float32)
            target = cupy.empty_like(source)
            own, copy = median_ms(
                cupy, [call, lambda s=source, t=target: cupy.copyto(t, s)], rounds
            )
            print(f"| {n:,} | {name} | {own:.3f} | {copy:.3f} | {own / copy:.1f} |", flush=True)


def time_forwards(cupy: Any, lengths: list[int], rounds: int) -> None:
    """Print whole forwards of YOSO-base, beside transformers' where torch can run it."""
    peer = torch_peer() if importlib.util.find_spec("torch") else None
    print("\n| n | runtime | ms | over the first |\n|---|---|---|---|")
    config = yosort.YosoConfig(max_position_embeddings=max(4096, *lengths))
    for n in lengths:
        ids = np.random.default_rng(n).integers(3, config.vocab_size, (1, n))
        calls: dict[str, Callable[[], object]] = {}
        for dtype in ("float32", "float16"):
            for attention in ("sampled", "expectation"):
                model = yosort.YosoModel(config, device="cuda", dtype=dtype, attention=attention)
                calls[f"yosort {attention}, {dtype}"] = lambda m=model, i=ids: m(i)
        if peer is not None and n <= 4096:
            calls["transformers eager, float32"] = lambda i=ids: peer(i)
        times = median_ms(cupy, list(calls.values()), rounds)
        for name, took in zip(calls, times, strict=True):
            print(f"| {n:,} | {name} | {took:.2f} | {took / times[0]:.2f} |", flush=True)


def torch_peer() -> Callable[[np.ndarray], object] | None:
    """Return transformers' model on the GPU, or None where torch has no CUDA."""
    import torch
    import transformers

    if not torch.cuda.is_available():
        return None
    # On cupy's stream, so that its events see torch's work.
    stream = torch.cuda.ExternalStream(0)
    model = transformers.YosoModel(transformers.YosoConfig()).eval().cuda()

    def call(ids: np.ndarray) -> object:
        with torch.no_grad(), torch.cuda.stream(stream):
            return model(torch.from_numpy(ids).cuda())

    return call


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", nargs="+", type=int, default=[512, 4096, 16384])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    cupy, index = find_gpu()
    ops = CudaOps(cupy, index)
    properties = cupy.cuda.runtime.getDeviceProperties(index)
    print(f"{properties['name'].decode()}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}")
    with ops.running():
        time_parts(cupy, ops, arguments.lengths, arguments.rounds)
        time_forwards(cupy, arguments.lengths, arguments.rounds)


if __name__ == "__main__":
    main()
