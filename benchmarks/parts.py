"""Where the time of a layer of YOSO-base goes, beside the least that this machine would need.

    python benchmarks/parts.py
    python benchmarks/parts.py --dtype int8

Prints Markdown tables: each part's time and its floor (operations over the measured peak of
multiply-adds, or bytes over the measured bandwidth, by peak.c; needs a C compiler), and the dense
products beside numpy's. An instruction multiplies two pairs of bfloat16 or four of int8 in the
place of one of float32: their peak is taken for so many times float32's. Medians; the two sides of
a ratio are measured in turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from yosort.ops.cpu.backend import CpuOps
from yosort.ops.cpu.bfloat16 import Bfloat16Ops
from yosort.ops.cpu.int8 import Int8Ops
from yosort.ops.hashing import hash_signs
from yosort.ops.interface import HashFunctions, LayerNorm, LayerTail, Layout

HIDDEN, HEADS, DIM, MIDDLE, CODE = 768, 12, 64, 3072, 9
RNG = np.random.default_rng(0)
OPS = {"float32": CpuOps, "bfloat16": Bfloat16Ops, "int8": Int8Ops}
#: Pairs of numbers that one lane of an instruction multiplies, each in its share of 4 bytes.
PAIRS = {"float32": 1, "bfloat16": 2, "int8": 4}


def measured_peak(threads: int) -> tuple[float, float]:
    """Return (operations a second, bytes a second) of this machine."""
    source = Path(__file__).with_name("peak.c")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "peak")
        compiler = os.environ.get("CC", "cc")
        options = ["-O3", "-march=native", "-pthread"]
        subprocess.run([compiler, *options, str(source), "-o", str(program)], check=True)
        runs = [
            subprocess.run([program, str(threads)], check=True, capture_output=True, text=True)
            for _ in range(3)
        ]
    rates = np.median([[float(x) for x in run.stdout.split()] for run in runs], axis=0)
    return float(rates[0]) * 1e9, float(rates[1]) * 1e9


def medians(*calls: Callable[[], object], rounds: int) -> list[float]:
    """Return each call's median seconds; the calls take turns."""
    for call in calls:
        call()
    seconds = []
    for _ in range(rounds):
        row = []
        for call in calls:
            # BLAS's idle threads spin for tens of milliseconds and would take a core from the next;
            # a sleep would let caches and clocks go cold instead.
            awake_until = time.perf_counter() + 0.15
            while time.perf_counter() < awake_until:
                pass
            start = time.perf_counter()
            call()
            row.append(time.perf_counter() - start)
        seconds.append(row)
    return [float(x) for x in np.median(seconds, axis=0)]


def normal(*shape: int) -> np.ndarray:
    """Return float32 normal numbers."""
    return RNG.standard_normal(shape, np.float32)


def profile_layer(ops: CpuOps, lengths: list[int], peak: float, bandwidth: float) -> None:
    """Print the table of parts."""

    def product(columns: int, depth: int) -> object:
        bias = np.zeros(columns, np.float32)
        return ops.linear_map([normal(columns, depth) * np.float32(0.02)], [bias])

    norm = LayerNorm(np.ones(HIDDEN, np.float32), np.zeros(HIDDEN, np.float32), 1e-12)
    tail = LayerTail(
        product(HIDDEN, HIDDEN),
        norm,
        product(MIDDLE, HIDDEN),
        "gelu",
        product(HIDDEN, MIDDLE),
        norm,
    )
    fused = ops.fuse(tail, product(3 * HIDDEN, HIDDEN))
    assert fused is not None
    weights = 4 * HIDDEN**2 + 2 * HIDDEN * MIDDLE
    dense_peak = PAIRS[ops.compute_type] * peak
    attention_peak = PAIRS[ops.attention_type] * peak
    weight_bytes = 4 / PAIRS[ops.compute_type] * weights
    print("\n| n | part of a layer | ms | floor, ms | time over floor |\n|---|---|---|---|---|")
    for n in lengths:
        qkv, x = normal(n, 3 * HIDDEN), normal(n, HIDDEN)
        query, key, value = (qkv[:, i * HIDDEN : (i + 1) * HIDDEN] for i in range(3))
        offsets = np.array([0, n])
        exact, sampled = (
            Layout(HEADS, CODE, offsets, offsets, np.array([form])) for form in (False, True)
        )
        rounds = 15 if n <= 1024 else 5
        dense = 2 * n * weights
        rows = [
            (
                "dense products, GELU, norms",
                lambda x=x: fused(x, x),
                max(dense / dense_peak, weight_bytes / bandwidth),
            ),
            (
                "attention, expectation",
                lambda q=query, k=key, v=value, h=exact: ops.attention(q, k, v, ops.layout(h)),
                4 * n * n * HEADS * DIM / attention_peak,
            ),
        ]
        for num_hash in (32, 64):
            signs = hash_signs(num_hash, CODE, DIM, heads=HEADS, seed=0)
            functions = HashFunctions(num_hash, signs=signs)
            # Additions run at half the peak, which counts a multiply-add as two. Three rotations
            # of 64 log2(64) additions a part for q and for k; an addition into and one out of a
            # table for each value dim and hash.
            additions = n * HEADS * (2 * signs.shape[2] * 3 * DIM * 6 + 2 * num_hash * DIM)
            rows.append(
                (
                    f"attention, sampled {num_hash}",
                    lambda q=query, k=key, v=value, h=sampled, f=functions: ops.attention(
                        q, k, v, ops.layout(h), ops.hash_functions(f)
                    ),
                    additions / (peak / 2),
                )
            )
        for (name, _, floor), seconds in zip(
            rows, medians(*(row[1] for row in rows), rounds=rounds), strict=True
        ):
            cells = f"{seconds * 1e3:.2f} | {floor * 1e3:.2f} | {seconds / floor:.2f}"
            print(f"| {n:,} | {name} | {cells} |", flush=True)


def compare_dense(ops: CpuOps, lengths: list[int]) -> None:
    """Print our dense product beside numpy's: same shapes, same threads, in turn."""
    print("\n| rows | depth x columns | ours, GFLOP/s | numpy's BLAS, GFLOP/s |\n|---|---|---|---|")
    for n in lengths:
        for depth, columns in ((HIDDEN, 3 * HIDDEN), (HIDDEN, MIDDLE), (MIDDLE, HIDDEN)):
            x, weight = normal(n, depth), normal(columns, depth)
            packed = ops.linear_map([weight], [np.zeros(columns, np.float32)])
            ours, theirs = medians(
                lambda x=x, packed=packed: ops.linear(x, packed),
                lambda x=x, weight=weight: x @ weight.T,
                rounds=15,
            )
            rate = 2e-9 * n * depth * columns
            print(
                f"| {n:,} | {depth} x {columns} | {rate / ours:.0f} | {rate / theirs:.0f} |",
                flush=True,
            )


def main() -> None:
    """Measure the machine, then the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 512, 4096])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dtype", choices=list(OPS), default="float32")
    arguments = parser.parse_args()
    ops = OPS[arguments.dtype](arguments.threads)
    peak, bandwidth = measured_peak(arguments.threads)
    print(
        f"{arguments.dtype}, {arguments.threads} threads, {ops.kernels.name}: peak of float32 "
        f"{peak * 1e-9:.0f} GFLOP/s, reads {bandwidth * 1e-9:.0f} GB/s"
    )
    profile_layer(ops, arguments.lengths, peak, bandwidth)
    if arguments.dtype == "float32":
        compare_dense(ops, arguments.lengths)


if __name__ == "__main__":
    main()
