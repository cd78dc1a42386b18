"""Every op of the GPU backend, in the emulator, against the CPU backend and the definitions."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from comparing import by_steps, relative_error
from tolerances import HALF, OP

from yosort import ops
from yosort.activations import ACTIVATIONS
from yosort.ops import definitions
from yosort.ops.cpu.backend import CpuOps
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.hashing import gaussian_projection, hash_signs
from yosort.ops.interface import EmbeddingTables, HashFunctions, LayerNorm, LayerTail, Layout

CASES = sorted((Path(__file__).parent.parent / "data" / "kernel_cases").glob("*.npz"))

#: heads, head_dim, num_hash, hash_code_len, lengths of the texts. Long codes take many passes, wide
#: heads many blocks: never both, for the emulator's sake.
SHAPES = [
    (1, 8, 1, 1, [1]),
    (2, 64, 32, 9, [7, 1, 33]),
    (3, 16, 13, 5, [13, 24, 3]),
    (1, 48, 130, 8, [21]),
    (2, 128, 5, 10, [5, 12]),
    (1, 8, 5, 16, [5, 12]),
    (4, 20, 9, 10, [64]),
    (1, 33, 6, 11, [2, 2, 2, 40]),
    (1, 300, 600, 1, [3]),
    (1, 520, 2, 11, [2, 3]),
]
#: A transform of 2,048, and more tokens than a block takes of it: codes alone.
WIDE = (1, 1100, 2, 13, [7, 5])


def make_case(shape: Any, seed: int = 0) -> tuple[np.ndarray, Layout]:
    """Return qkv [tokens, 3 * width] and the heads of a shape; queries are all tokens."""
    count, dim, _, length, lengths = shape
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    qkv = np.random.default_rng([seed, count, dim]).standard_normal(
        (int(offsets[-1]), 3 * count * dim), np.float32
    )
    return qkv, Layout(count, length, offsets, offsets)


def split(qkv: Any) -> tuple[Any, Any, Any]:
    """Return the columns of q, k and v."""
    width = qkv.shape[1] // 3
    return qkv[:, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]


def functions_of(shape: Any, fast: bool) -> HashFunctions:
    """Draw the hash functions of a shape."""
    count, dim, num_hash, length, _ = shape
    if fast:
        return HashFunctions(num_hash, signs=hash_signs(num_hash, length, dim, heads=count, seed=3))
    matrix = gaussian_projection(num_hash, length, dim, heads=count, seed=3)
    return HashFunctions(num_hash, projection=matrix)


@pytest.mark.parametrize("shape", [*SHAPES, WIDE], ids=str)
def test_codes_are_the_cpus_bit_for_bit(cupy: ModuleType, shape: Any, any_order: None) -> None:
    qkv, layout = make_case(shape)
    qkv[-1] = 0  # a projection of 0 sets no bit
    functions = functions_of(shape, fast=True)
    assert functions.signs is not None
    gpu = CudaOps(cupy)
    query, key, _ = split(cupy.asarray(qkv))
    got = gpu._kernels.codes(query, key, gpu.hash_functions(functions), layout.hash_code_len)
    cpu = CpuOps(1)
    for codes, rows in zip(got, split(qkv)[:2], strict=True):
        wanted = cpu.codes(rows, cpu.hash_functions(functions), layout.hash_code_len)
        np.testing.assert_array_equal(codes.get(), wanted)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", ["expectation", "sampled", "sampled, slow hash"])
def test_attention_is_the_cpus(cupy: ModuleType, shape: Any, form: str) -> None:
    qkv, layout = make_case(shape)
    if len(qkv) > 3:
        split(qkv)[0][1] = 0  # a query without a direction
    # The last layer answers some rows only.
    chosen = np.arange(0, len(qkv), 2)
    lengths = [
        ((chosen >= a) & (chosen < b)).sum()
        for a, b in zip(layout.offsets[:-1], layout.offsets[1:], strict=True)
    ]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    some = Layout(layout.heads, layout.hash_code_len, offsets, layout.offsets)

    def run(backend: Any, place: Any, where: Layout, rows: Any) -> Any:
        query, key, value = split(place(qkv))
        if rows is not None:
            query = backend.take(query, rows)
        if form == "expectation":
            return backend.expected_attention(query, key, value, backend.layout(where))
        functions = functions_of(shape, fast=form == "sampled")
        return backend.sampled_attention(
            query, key, value, backend.layout(where), backend.hash_functions(functions)
        )

    for where, rows in ((layout, None), (some, chosen)):
        got = run(CudaOps(cupy), cupy.asarray, where, rows).get()
        assert relative_error(got, run(CpuOps(1), np.asarray, where, rows)) <= OP


@pytest.mark.parametrize("form", ["expectation", "sampled"])
def test_twice_the_same_bits_in_any_order(cupy: Any, form: str) -> None:
    shape = SHAPES[1]
    qkv, layout = make_case(shape)
    results = []
    before = cupy.seed
    try:
        for cupy.seed in (0, 1, 2, 3):
            query, key, value = split(cupy.asarray(qkv))
            backend = CudaOps(cupy)
            if form == "expectation":
                out = backend.expected_attention(query, key, value, backend.layout(layout))
            else:
                functions = functions_of(shape, fast=True)
                out = backend.sampled_attention(
                    query, key, value, backend.layout(layout), backend.hash_functions(functions)
                )
            results.append(out.get())
    finally:
        cupy.seed = before
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_no_kernel_uses_atomics(cupy: Any) -> None:
    cupy.launches.clear()
    qkv, layout = make_case(SHAPES[1])
    query, key, value = split(cupy.asarray(qkv))
    ops = CudaOps(cupy)
    functions = ops.hash_functions(functions_of(SHAPES[1], fast=True))
    ops.sampled_attention(query, key, value, ops.layout(layout), functions)
    names = [name for name, _ in cupy.launches]
    assert names == ["hadamard_hash", "lsh_cumulation", "normalize_heads"]
    assert all(counters["atomics"] == 0 for _, counters in cupy.launches)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_linear_and_its_activation(cupy: ModuleType, activation: str) -> None:
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.standard_normal((9, 7)), 12 * rng.standard_normal((9, 7))])
    weight, bias = rng.standard_normal((11, 7)), rng.standard_normal(11)
    gpu = CudaOps(cupy)
    got = gpu.linear(
        cupy.asarray(x.astype(np.float32)),
        gpu.linear_map([weight[:4], weight[4:]], [bias[:4], bias[4:]]),
        activation,
    )
    wanted = definitions.activate(x @ weight.T + bias, activation)
    assert relative_error(got.get(), wanted) <= OP


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations_let_nan_through(cupy: ModuleType, activation: str) -> None:
    gpu = CudaOps(cupy)
    weight = gpu.linear_map([np.ones((1, 1))], [np.zeros(1)])
    out = gpu.linear(cupy.asarray(np.full((1, 1), np.nan, np.float32)), weight, activation)
    assert np.isnan(out.get()).all()


@pytest.mark.parametrize("width", [1, 31, 64, 300, 768])
def test_layer_norm_and_embeddings(cupy: ModuleType, width: int, any_order: None) -> None:
    rng = np.random.default_rng(width)
    scale, shift = rng.standard_normal((2, width)).astype(np.float32)
    tables = [rng.standard_normal((rows, width)).astype(np.float32) for rows in (9, 12, 2)]
    gpu, cpu = CudaOps(cupy), CpuOps(1)
    words, positions = rng.integers(0, 9, 5), rng.integers(0, 12, 5)
    types = rng.integers(0, 2, 5)
    x = rng.standard_normal((5, width)).astype(np.float32) * 3 + 1
    results = []
    for backend in (gpu, cpu):
        norm = LayerNorm(backend.parameter(scale), backend.parameter(shift), 1e-6)
        prepared = EmbeddingTables(*(backend.table(t) for t in tables), norm)
        results.append(
            [
                backend.to_host(backend.embed(prepared, words, positions, types)),
                backend.to_host(backend.embed(prepared, x, positions, types)),
                backend.to_host(backend.layer_norm(backend.from_host(x), norm)),
            ]
        )
    for got, wanted in zip(*results, strict=True):
        assert relative_error(got, wanted) <= OP


def test_layer_norm_of_a_large_mean(cupy: ModuleType) -> None:
    """The mean goes before the squares: their difference would lose what is left."""
    x = (100 + np.random.default_rng(1).standard_normal((20, 64))).astype(np.float32)
    gpu = CudaOps(cupy)
    one, zero = (gpu.parameter(np.full(64, v, np.float32)) for v in (1, 0))
    got = gpu.layer_norm(cupy.asarray(x), LayerNorm(one, zero, 1e-12)).get()
    centred = x.astype(np.float64) - x.mean(axis=1, dtype=np.float64, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True))
    assert relative_error(got, wanted) <= OP


@pytest.mark.parametrize("following", [False, True])
def test_layer_tail(cupy: ModuleType, following: bool) -> None:
    rng = np.random.default_rng(8)
    weights = {
        name: rng.standard_normal(shape).astype(np.float32) / 4
        for name, shape in {"o": (24, 24), "u": (40, 24), "d": (24, 40), "n": (72, 24)}.items()
    }
    context, x = rng.standard_normal((2, 6, 24)).astype(np.float32)
    results = []
    for backend in (CudaOps(cupy), CpuOps(1)):
        maps = {
            # Not one number for all columns, which a layer normalisation takes out again.
            k: backend.linear_map([w], [np.linspace(-1, 1, len(w), dtype=np.float32)])
            for k, w in weights.items()
        }
        one, zero = (backend.parameter(np.full(24, v, np.float32)) for v in (1, 0))
        norm = LayerNorm(one, zero, 1e-12)
        tail = LayerTail(maps["o"], norm, maps["u"], "gelu", maps["d"], norm)
        place = backend.from_host
        out = by_steps(backend, tail, maps["n"] if following else None, place(context), place(x))
        results.append([backend.to_host(a) for a in out if a is not None])
    assert len(results[0]) == 1 + following
    for got, wanted in zip(*results, strict=True):
        assert relative_error(got, wanted) <= OP


@pytest.mark.parametrize("keep", [False, True])
def test_convolution_with_holes(cupy: ModuleType, keep: bool, any_order: None) -> None:
    rng = np.random.default_rng(2)
    value = rng.standard_normal((11, 6)).astype(np.float32)
    slots = np.array([0, 1, 3, 4, 8, 0, 2, 3, 4, 5, 9], np.int32)
    chosen = np.array([0, 3, 5, 10])
    factors = rng.random(11).astype(np.float32) if keep else None
    offsets = np.array([0, 2, 4]), np.array([0, 5, 11])
    layout = Layout(2, 4, *offsets, slots[chosen], slots, factors)
    context = rng.standard_normal((4, 6)).astype(np.float32)
    weight = rng.standard_normal((2, 5)).astype(np.float32)
    results = []
    for backend in (CudaOps(cupy), CpuOps(1)):
        out = backend.add_convolution(
            backend.from_host(context),
            backend.from_host(value),
            backend.parameter(weight),
            backend.layout(layout),
        )
        results.append(backend.to_host(out))
    assert relative_error(*results) <= OP


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_upstream_kernels_gave_the_same(cupy: ModuleType, path: Path) -> None:
    case = np.load(path)
    sizes = {"num_hash": int(case["num_hash"]), "hash_code_len": int(case["hash_code_len"])}
    on_device = {name: cupy.asarray(case[name]) for name in ("q", "k", "v", "Dmat")}
    masks = {name: cupy.asarray(case[name]) for name in ("q_mask", "k_mask")}
    codes = [
        ops.fast_hash(on_device[name], on_device["Dmat"], mask=masks[f"{name}_mask"], **sizes)
        for name in "qk"
    ]
    np.testing.assert_array_equal(codes[0].get(), case["q_codes"])
    np.testing.assert_array_equal(codes[1].get(), case["k_codes"])
    out = ops.lsh_cumulation(
        *codes,
        on_device["v"],
        hash_code_len=sizes["hash_code_len"],
        query_mask=masks["q_mask"],
        key_mask=masks["k_mask"],
    )
    assert type(out) is cupy.ndarray
    # Integers over a power of two: exact in float32, so equal to the last bit.
    np.testing.assert_array_equal(out.get(), case["out"])


def test_other_functional_ops(cupy: ModuleType) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 9, 12)).astype(np.float32)
    query, key = definitions.l2_normalize(rng.standard_normal((2, 2, 9, 12))).astype(np.float32)
    mask = rng.integers(0, 2, (2, 9))
    matrix = gaussian_projection(5, 7, 12, heads=2, seed=1)
    arguments: dict[str, Any] = {"num_hash": 5, "hash_code_len": 7}
    got = ops.gaussian_hash(cupy.asarray(x), cupy.asarray(matrix), **arguments)
    np.testing.assert_array_equal(got.get(), ops.gaussian_hash(x, matrix, **arguments))
    place = cupy.asarray
    got = ops.expected_attention(
        place(query),
        place(key),
        place(x),
        hash_code_len=7,
        query_mask=place(mask),
        key_mask=place(mask),
    )
    wanted = ops.expected_attention(query, key, x, hash_code_len=7, query_mask=mask, key_mask=mask)
    assert relative_error(got.get(), wanted) <= OP


@pytest.mark.parametrize("form", ["expectation", "sampled"])
def test_half_precision_activations(cupy: ModuleType, form: str) -> None:
    shape = SHAPES[1]
    qkv, layout = make_case(shape)
    half = qkv.astype(np.float16)
    results = []
    for backend, array in (
        (CudaOps(cupy, dtype="float16"), half),
        (CpuOps(1), half.astype(np.float32)),
    ):
        query, key, value = split(backend.from_host(array))
        if form == "expectation":
            out = backend.expected_attention(query, key, value, backend.layout(layout))
        else:
            out = backend.sampled_attention(
                query,
                key,
                value,
                backend.layout(layout),
                backend.hash_functions(functions_of(shape, fast=True)),
            )
        results.append(backend.to_host(out))
    assert results[0].dtype == np.float16
    # The same half-precision input on both sides, float32 inside: only the output rounds.
    assert relative_error(*results) <= HALF
