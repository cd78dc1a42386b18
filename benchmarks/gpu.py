"""Time the GPU kernels and whole forwards on a real device, beside what its memory allows.

    python benchmarks/gpu.py [--folder CHECKPOINT] [--dtype float32] [--json out.json]

CUDA events around each call, the median of many, after a warm-up. A kernel's floor is the time that
its bytes take at the bandwidth of a device-to-device copy, measured in the same run; `ratio` is its
time over that floor. With torch and a CUDA build of it, a plain torch YOSO is timed beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

#: YOSO-base: heads, head_dim, hash_code_len, layers.
HEADS, DIM, CODE_LEN = 12, 64, 9


def milliseconds(cupy: Any, call: Callable[[], Any], repeats: int = 30) -> float:
    """Return the median time of a call on the current stream."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        stop.record()
        stop.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, stop))
    return statistics.median(times)


def bandwidth(cupy: Any) -> float:
    """Return bytes a second of a copy of 1 GB, read and written."""
    source = cupy.zeros(1 << 28, np.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / milliseconds(cupy, lambda: cupy.copyto(target, source)) * 1e3


def kernels(cupy: Any, n: int, num_hash: int, dtype: str) -> list[dict[str, Any]]:
    """Time each kernel on one text of n tokens; bytes are the least that must move."""
    from yosort.ops.cuda.backend import CudaOps
    from yosort.ops.hashing import hash_signs
    from yosort.ops.interface import HashFunctions, LayerNorm, Layout

    ops = CudaOps(cupy, dtype=dtype)
    item, hidden = np.dtype(dtype).itemsize, HEADS * DIM
    offsets = np.array([0, n])
    layout = Layout(HEADS, CODE_LEN, offsets, offsets)
    rng = np.random.default_rng(0)
    qkv = cupy.asarray(rng.standard_normal((n, 3 * hidden), np.float32).astype(dtype))
    query, key, value = (qkv[:, i * hidden : (i + 1) * hidden] for i in range(3))
    signs = hash_signs(num_hash, CODE_LEN, DIM, heads=HEADS, seed=0)
    kernels, where = ops._kernels, ops.layout(layout)
    functions = ops.hash_functions(HashFunctions(num_hash, signs=signs))
    codes = kernels.codes(query, key, functions, CODE_LEN)
    sums = kernels.cumulate(*codes, value, where)
    vector = cupy.ones(hidden, np.float32)
    norm = LayerNorm(vector, vector, 1e-12)
    rows = cupy.ascontiguousarray(query)
    all_codes = 2 * 2 * HEADS * num_hash * n
    weight = cupy.asarray(rng.standard_normal((4 * hidden, hidden), np.float32).astype(dtype))
    linear_map = (weight, cupy.zeros(4 * hidden, np.float32))
    cases: list[tuple[str, int, Callable[[], Any]]] = [
        (
            "hadamard_hash",
            2 * n * hidden * item + all_codes,
            lambda: kernels.codes(query, key, functions, CODE_LEN),
        ),
        (
            "lsh_cumulation",
            n * hidden * item + all_codes + sums.nbytes,
            lambda: kernels.cumulate(*codes, value, where),
        ),
        (
            "sampled attention, whole",
            4 * n * hidden * item,
            lambda: ops.sampled_attention(query, key, value, where, functions),
        ),
        (
            "expected attention, whole",
            4 * n * hidden * item,
            lambda: ops.expected_attention(query, key, value, where),
        ),
        ("layer norm", 2 * n * hidden * item, lambda: ops.layer_norm(rows, norm)),
        (
            "linear 768 to 3072 with gelu",
            (n * hidden + weight.size + n * 4 * hidden) * item,
            lambda: ops.linear(rows, linear_map, "gelu"),
        ),
    ]
    return [{"what": name, "bytes": size, "ms": milliseconds(cupy, f)} for name, size, f in cases]


def forward(cupy: Any, folder: str, lengths: list[int], dtype: str) -> list[dict[str, Any]]:
    """Time whole forwards of a checkpoint, batch 1, in both forms of attention."""
    import yosort

    found = []
    for attention in ("sampled", "expectation"):
        model = yosort.load(folder, device="cuda", dtype=dtype, attention=attention)
        for n in lengths:
            if n > model.config.max_position_embeddings:
                continue
            ids = np.random.default_rng(0).integers(5, model.config.vocab_size, (1, n))
            found.append(
                {
                    "what": f"forward, {attention}",
                    "n": n,
                    "ms": milliseconds(cupy, partial(model, ids)),
                }
            )
    return found


def torch_attention(n: int) -> float | None:
    """Return milliseconds of the expectation in plain torch on the GPU; None without one."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    query, key, value = torch.randn(3, HEADS, n, DIM, device="cuda").unbind()
    query, key = (torch.nn.functional.normalize(x, dim=-1) for x in (query, key))
    times = []
    for _ in range(13):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        cosine = torch.clamp(query @ key.transpose(-1, -2), -1, 1)
        (1 - torch.acos(cosine) / torch.pi) ** CODE_LEN @ value
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return statistics.median(times[3:])


def main() -> int:
    """Print a Markdown table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="a checkpoint, for whole forwards")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16"))
    parser.add_argument("--num-hash", type=int, default=32)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 4096, 16384])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from yosort.ops.cuda.finding import find_gpu

    cupy, index = find_gpu()
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    speed = bandwidth(cupy)
    print(f"{name}: a copy moves {speed / 1e9:.0f} GB/s\n\n| what | n | ms | floor | ratio |")
    print("|---|---|---|---|---|")
    results = []
    for n in arguments.lengths:
        for row in kernels(cupy, n, arguments.num_hash, arguments.dtype):
            floor = row["bytes"] / speed * 1e3
            results.append({**row, "n": n, "floor_ms": floor})
            ratio = row["ms"] / floor
            print(f"| {row['what']} | {n} | {row['ms']:.3f} | {floor:.3f} | {ratio:.1f} |")
        other = torch_attention(n)
        if other is not None:
            results.append({"what": "expectation in plain torch", "n": n, "ms": other})
            print(f"| expectation in plain torch | {n} | {other:.3f} | | |")
    if arguments.folder:
        for row in forward(cupy, arguments.folder, arguments.lengths, arguments.dtype):
            results.append(row)
            print(f"| {row['what']} | {row['n']} | {row['ms']:.3f} | | |")
    if arguments.json:
        found = {"device": name, "copy_bytes_per_second": speed, "results": results}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
