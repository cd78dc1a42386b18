"""Compare ways to draw hash functions for sampled attention: bias, spread and total error.

Queries, keys and values are those of the bundled model on real text, a layer and a head at a time.
Errors are those of the L2-normalised context against the expectation's, as a share of its root mean
square: `bias` of the mean over draws, `spread` around that mean, `total` of one draw. All ways use
the same number of hash functions; what a function costs differs, see docs/dial.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from dial import packed

import yosort
from yosort.model.attention import draw_hash_functions
from yosort.ops import definitions, get_ops
from yosort.ops.interface import Layout
from yosort.tasks import bundled_model

Floats = npt.NDArray[np.float64]
#: The bits of all codes, [functions, n, length].
Bits = npt.NDArray[np.bool_]
COUNTS = (16, 64, 256)


def rotate(x: Floats, rotations: int, rng: np.random.Generator) -> Floats:
    """Return H D3 H D2 H D1 x for each of several draws of signs, [rotations, n, dim]."""
    n, dim = x.shape
    out = np.broadcast_to(x, (rotations, n, dim))
    for _ in range(3):
        signs = rng.choice([-1.0, 1.0], (rotations, 1, dim))
        out = np.asarray(definitions.hadamard(out * signs))
    return out


def disjoint(x: Floats, length: int, count: int, rng: np.random.Generator) -> Bits:
    """Disjoint windows of one rotation: the published fast hash. Returns [functions, n, length]."""
    each = x.shape[1] // length
    turned = rotate(x, -(-count // each), rng)[:, :, : each * length] > 0
    bits = turned.reshape(len(turned), len(x), each, length).transpose(0, 2, 1, 3)
    return bits.reshape(-1, len(x), length)[:count]


def gaussian(x: Floats, length: int, count: int, rng: np.random.Generator) -> Bits:
    """Independent directions: the slow hash, unbiased."""
    directions = rng.standard_normal((count, x.shape[1], length))
    return np.asarray(np.einsum("nd,cdl->cnl", x, directions, optimize=True) > 0)


def across(x: Floats, length: int, count: int, rng: np.random.Generator) -> Bits:
    """Each bit of a function from another rotation: as many rotations, no two bits orthogonal."""
    dim = x.shape[1]
    rounds = -(-count // dim)
    turned = rotate(x, rounds * length, rng).reshape(rounds, length, len(x), dim) > 0
    return turned.transpose(0, 3, 2, 1).reshape(-1, len(x), length)[:count]


def choosing(times: int) -> Callable[..., Bits]:
    """Random bits of a rotation, `times` as many functions a rotation as disjoint windows give."""

    def draw(x: Floats, length: int, count: int, rng: np.random.Generator) -> Bits:
        each = x.shape[1] // length * times
        turned = rotate(x, -(-count // each), rng) > 0
        functions = [
            part[:, rng.choice(x.shape[1], length, replace=False)]
            for part in turned
            for _ in range(each)
        ]
        return np.stack(functions[:count])

    return draw


def overlapping(x: Floats, length: int, count: int, rng: np.random.Generator) -> Bits:
    """Windows of one rotation that overlap by half, the last one closing the circle."""
    dim, step = x.shape[1], length // 2
    turned = rotate(x, -(-count // (dim // step)), rng) > 0
    windows = [np.arange(at, at + length) % dim for at in range(0, dim, step)]
    return np.stack([part[:, window] for part in turned for window in windows][:count])


FILLED = "disjoint windows, empty buckets filled"
WAYS: dict[str, Callable[..., Bits]] = {
    "disjoint windows (published)": disjoint,
    "Gaussian": gaussian,
    "overlapping windows": overlapping,
    "random bits, twice a rotation": choosing(2),
    "random bits, eight times a rotation": choosing(8),
    "each bit from another rotation": across,
    FILLED: disjoint,
}


def context(bits: Bits, n: int, value: Floats, *, fill: bool = False) -> Floats:
    """Return the sums of values whose codes agree, normalised, [n, dim]; bits: queries, keys.

    With fill, a query whose bucket is empty gets, for that function, what it would get on average
    if its code were any query's: the share of all pairs that agree, times the sum of all values.
    """
    codes = bits @ (1 << np.arange(bits.shape[2]))
    sums = np.zeros_like(value)
    for code in codes:
        table = np.zeros((2 ** bits.shape[2], value.shape[1]))
        np.add.at(table, code[n:], value)
        sums += table[code[:n]]
        if fill:
            keys = np.bincount(code[n:], minlength=len(table))[code[:n]]
            sums[keys == 0] += keys.mean() / n * value.sum(axis=0)
    return np.asarray(definitions.l2_normalize(sums / len(codes)))


def layout_of(corpus: Path, length: int) -> list[tuple[Floats, Floats, Floats]]:
    """Return (query, key, value) [n, head_dim] of each layer's first head on one text."""
    model = yosort.load(bundled_model(), device="reference", attention="expectation")
    config = model.config
    ids = packed(corpus, model.tokenizer, length)[:1]
    states = model(ids, positions=[(0, 1)], output_hidden_states=True, return_dict=True)
    found = []
    for i, layer in enumerate(model._encoder.layers):
        qkv = model.ops.linear(states.hidden_states[i][0], layer.qkv)
        parts = (qkv[:, j * config.hidden_size :][:, : config.head_dim] for j in range(3))
        found.append(tuple(np.asarray(part, np.float64) for part in parts))
    return found


def hashing_share(n: int = 4096, rounds: int = 9) -> float:
    """Return the share of sampled attention that hashing takes: what fewer rotations save."""
    config = yosort.YosoConfig.from_pretrained(bundled_model())
    ops = get_ops("cpu")
    functions = ops.hash_functions(draw_hash_functions(config, config.num_hash, (0, 0)))
    q, k, v = np.random.default_rng(0).standard_normal((3, n, config.hidden_size), np.float32)
    offsets, forms = np.array([0, n], np.int64), np.array([True])
    layout = Layout(config.num_attention_heads, config.hash_code_len, offsets, offsets, forms)
    times: dict[str, list[float]] = {"hash": [], "all": []}
    for _ in range(rounds):
        start = time.perf_counter()
        for rows in (q, k):
            ops.codes(rows, functions, config.hash_code_len)
        middle = time.perf_counter()
        ops.attention(q, k, v, layout, functions)
        times["hash"].append(middle - start)
        times["all"].append(time.perf_counter() - middle)
    return min(times["hash"]) / min(times["all"])


def main() -> None:
    """Print a row for each way and number of functions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--draws", type=int, default=24)
    parser.add_argument("--share", action="store_true", help="time hashing instead")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.share:
        print(f"hashing takes {hashing_share():.0%} of sampled attention with 64 functions")
        return
    length = yosort.YosoConfig.from_pretrained(bundled_model()).hash_code_len
    errors: dict[str, dict[int, list[list[float]]]] = {name: {} for name in WAYS}
    for q, k, v in layout_of(arguments.corpus, arguments.length):
        q, k = definitions.l2_normalize(q), definitions.l2_normalize(k)
        both, n = np.concatenate([q, k]), len(q)
        weights = (1 - np.arccos(np.clip(q @ k.T, -1, 1)) / np.pi) ** length
        exact = definitions.l2_normalize(weights @ v)
        size = np.sqrt(np.mean(exact**2))
        for name, way in WAYS.items():
            for count in COUNTS:
                draws = np.stack(
                    [
                        context(
                            way(both, length, count, np.random.default_rng(seed)),
                            n,
                            v,
                            fill=name == FILLED,
                        )
                        for seed in range(arguments.draws)
                    ]
                )
                mean = draws.mean(axis=0)
                spread = np.sqrt(draws.var(axis=0, ddof=1).mean())
                # The mean of few draws is itself off by spread / sqrt(draws): taken out.
                square = np.mean((mean - exact) ** 2) - spread**2 / len(draws)
                total = np.sqrt(np.mean((draws - exact) ** 2))
                row = [np.sqrt(max(square, 0)) / size, spread / size, total / size]
                errors[name].setdefault(count, []).append(row)
    figures = {}
    for name, by_count in errors.items():
        for count, rows in by_count.items():
            bias, spread, total = np.mean(rows, axis=0).tolist()
            figures[f"{name}, {count}"] = {"bias": bias, "spread": spread, "total": total}
            print(f"{name:40} {count:4}  bias {bias:.3f}  spread {spread:.3f}  total {total:.3f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
