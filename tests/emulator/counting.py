"""Count what the kernels ask of the memory, by warps: wavefronts of shared memory, sectors.

    PYTHONPATH=tests python -m emulator.counting [--n 128] [--heads 1]

prints a Markdown table: a kernel's loads and stores of shared memory and how many wavefronts each
takes (1 where no two lanes need two words of one bank), and its bytes of global memory beside those
of the sectors that they lie in. The source's loads and stores are counted as they are written, of 4
bytes each; NVIDIA's compiler merges some into wider ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from emulator import fake_cupy
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.hashing import hash_signs
from yosort.ops.interface import HashFunctions, Layout

Counts = dict[str, dict[str, int]]


@contextmanager
def by_warps() -> Iterator[Counts]:
    """Count the launches inside, by kernel."""
    found: Counts = {}
    begin = len(fake_cupy.launches)
    fake_cupy.by_warps = True
    try:
        yield found
    finally:
        fake_cupy.by_warps = False
    for name, counters in fake_cupy.launches[begin:]:
        sums = found.setdefault(name, dict.fromkeys(counters, 0))
        for key, value in counters.items():
            sums[key] += value


def attention(n: int, heads: int, dtype: str = "float32", dim: int = 64) -> Counts:
    """Count both forms of attention over one text, with heads as YOSO-base has them."""
    ops, offsets = CudaOps(fake_cupy, dtype=dtype), np.array([0, n])
    rng = np.random.default_rng(0)
    qkv = ops.from_host(rng.standard_normal((n, 3 * heads * dim)).astype(dtype))
    query, key, value = (qkv[:, i * heads * dim : (i + 1) * heads * dim] for i in range(3))
    signs = hash_signs(32, 9, dim, heads=heads, seed=0)
    functions = ops.hash_functions(HashFunctions(32, signs=signs))
    with by_warps() as found:
        for sampled in (True, False):
            layout = ops.layout(Layout(heads, 9, offsets, offsets, np.array([sampled])))
            ops.attention(query, key, value, layout, functions)
    return found


def table(found: Counts) -> str:
    """Return counts as a Markdown table."""
    lines = [
        "| kernel | shared loads | wavefronts each | stores | each | global KB | sectors, KB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, c in found.items():
        row: list[Any] = [f"`{name}`"]
        for kind in ("load", "store"):
            many = c[f"shared_{kind}s"]
            row += [f"{many:,}", f"{c[f'shared_{kind}_wavefronts'] / many:.2f}" if many else ""]
        moved, sectors = c["read_bytes"] + c["written_bytes"], 32 * c["global_sectors"]
        row += [f"{moved / 1024:,.0f}", f"{sectors / 1024:,.0f}"]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    print(table(attention(arguments.n, arguments.heads, arguments.dtype)))
