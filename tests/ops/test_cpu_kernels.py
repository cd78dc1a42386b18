"""The compiled kernels: every instruction set this machine runs, odd shapes, fixed bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparing import by_steps, relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import OP

from yosort._dense import Kernels, PackedLinear, available_instruction_sets
from yosort.activations import ACTIVATIONS
from yosort.ops import definitions
from yosort.ops.cpu.backend import CpuOps
from yosort.ops.hashing import gaussian_projection, hash_signs
from yosort.ops.interface import HashFunctions, LayerNorm, LayerTail, Layout
from yosort.ops.plain import PlainOps

VARIANTS = available_instruction_sets()
PLAIN = PlainOps()


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def layout_of(lengths: list[int], count: int, hash_code_len: int) -> Layout:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Layout(count, hash_code_len, offsets, offsets)


def test_a_variant_is_there_and_the_baseline_always() -> None:
    assert VARIANTS[-1] == "baseline"
    with pytest.raises(ValueError, match="no kernels for 'mmx'"):
        CpuOps(1, "mmx")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_product_goes_by_its_name(variant: str) -> None:
    kernels = Kernels(variant)
    assert kernels.products == ["float32", "int8", "narrow"]
    weight = np.eye(3, dtype=np.float32)
    for name in kernels.products:
        assert PackedLinear(kernels, [weight], [None], name).kind == name
    with pytest.raises(ValueError, match=r"no product 'int4'; there are \['float32', "):
        PackedLinear(kernels, [weight], [None], "int4")


@pytest.mark.parametrize("variant", VARIANTS)
@given(
    rows=st.integers(0, 150),
    depth=st.integers(1, 900),
    columns=st.integers(1, 100),
    threads=st.integers(1, 3),
)
@settings(max_examples=60)
def test_linear_of_any_shape(
    variant: str, rows: int, depth: int, columns: int, threads: int
) -> None:
    ops = CpuOps(threads, variant)
    # A column slice, as q, k and v are: rows lie further apart than they are wide.
    x = draw(1, rows, depth + 5)[:, 2 : depth + 2]
    weight, bias = draw(2, columns, depth), draw(3, columns)
    packed = ops.linear_map([weight], [bias])
    got = ops.linear(x, packed)
    wanted = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    assert relative_error(got, wanted) < OP
    # A row's bits depend on nothing but the row.
    other = CpuOps(1, variant)
    np.testing.assert_array_equal(other.linear(x[: rows // 3], packed), got[: rows // 3])


@pytest.mark.parametrize("variant", VARIANTS)
def test_several_weights_are_one_map(variant: str) -> None:
    ops = CpuOps(2, variant)
    x = draw(1, 40, 33)
    for sizes in ([1, 2, 3], [64, 64, 64], [50, 7, 128, 1], [32768, 5]):
        weights = [draw(i, n, 33).astype(np.float16) for i, n in enumerate(sizes)]
        biases = [draw(9 + i, n) for i, n in enumerate(sizes)]
        packed = ops.linear_map(weights, biases)
        apart = [
            ops.linear(x, ops.linear_map([w], [b])) for w, b in zip(weights, biases, strict=True)
        ]
        np.testing.assert_array_equal(ops.linear(x, packed), np.concatenate(apart, axis=1))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations_follow_their_formulas(variant: str, activation: str) -> None:
    ops = CpuOps(1, variant)
    x = np.concatenate(
        [np.linspace(-12, 12, 40_001), np.linspace(-1e-3, 1e-3, 999), [-200, -90, 0, 90, 200]]
    ).astype(np.float32)[:, None]
    identity = ops.linear_map([np.ones((1, 1), np.float32)], [np.zeros(1, np.float32)])
    got = ops.linear(x, identity, activation)
    wanted = definitions.activate(x, activation)
    error = np.abs(got - wanted) / np.maximum(np.abs(wanted), 1.0)
    assert error.max() < 1e-6
    assert np.isnan(ops.linear(np.full((1, 1), np.nan, np.float32), identity, activation)).all()


@pytest.mark.parametrize("variant", VARIANTS)
@given(rows=st.integers(0, 70), width=st.integers(1, 130), scale=st.sampled_from([1e-3, 1, 1e3]))
@settings(max_examples=40)
def test_layer_norm_of_any_width(variant: str, rows: int, width: int, scale: float) -> None:
    ops = CpuOps(2, variant)
    x, residual = draw(1, rows, width) * np.float32(scale), draw(2, rows, width)
    norm = LayerNorm(draw(3, width), draw(4, width), 1e-5)
    for extra in (None, residual):
        total = x.astype(np.float64) + (0 if extra is None else extra)
        wanted = definitions.layer_norm(total, norm.scale, norm.shift, norm.eps)
        assert relative_error(ops._layer_norm(x, extra, norm), wanted) < 10 * OP


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("following", [True, False])
@pytest.mark.parametrize(("hidden", "middle"), [(48, 80), (33, 1), (800, 1600), (1, 3)])
def test_the_fused_tail_gives_the_bits_of_its_steps(
    variant: str, following: bool, hidden: int, middle: int
) -> None:
    fused, single = CpuOps(3, variant), CpuOps(1, variant)

    def tail_of(ops: Any) -> tuple[LayerTail, Any]:
        def dense(seed: int, out: int, into: int) -> Any:
            weight = draw(seed, out, into) / np.float32(into**0.5)
            return ops.linear_map([weight], [draw(seed + 1, out)])

        norms = [
            LayerNorm(ops.parameter(draw(s, hidden)), ops.parameter(draw(s + 1, hidden)), eps)
            for s, eps in ((20, 1e-6), (30, 0.25))
        ]
        tail = LayerTail(
            dense(1, hidden, hidden),
            norms[0],
            dense(3, middle, hidden),
            "gelu",
            dense(5, hidden, middle),
            norms[1],
        )
        return tail, dense(7, 3 * hidden, hidden) if following else None

    context, x = draw(40, 200, 3 * hidden)[:, :hidden], draw(41, 200, hidden)
    tail, after = tail_of(fused)
    whole = fused.fuse(tail, after)(context, x)
    pieces = [by_steps(single, tail, after, context[i : i + 1], x[i : i + 1]) for i in range(200)]
    for got, wanted in zip(whole, zip(*pieces, strict=True), strict=True):
        if got is None:
            assert wanted[0] is None
        else:
            np.testing.assert_array_equal(got, np.concatenate(wanted))
    plain = by_steps(PLAIN, *tail_of(PLAIN), context, x)
    for got, wanted in zip(whole, plain, strict=True):
        assert got is None or relative_error(got, wanted) < 3 * OP


lengths_lists = st.lists(st.integers(0, 70), min_size=1, max_size=6)


@pytest.mark.parametrize("variant", VARIANTS)
@given(
    lengths=lengths_lists,
    count=st.integers(1, 3),
    width=st.integers(1, 80),
    hash_code_len=st.integers(1, 16),
    num_hash=st.integers(1, 20),
    kind=st.sampled_from(["expectation", "fast", "gaussian"]),
)
@settings(max_examples=60)
def test_attention_over_ragged_texts(
    variant: str,
    lengths: list[int],
    count: int,
    width: int,
    hash_code_len: int,
    num_hash: int,
    kind: str,
) -> None:
    """Against the definition; and each text alone, with any threads, has the same bits."""
    total = sum(lengths)
    qkv = draw(1, total, 3 * count * width)
    query, key, value = (qkv[:, i * count * width : (i + 1) * count * width] for i in range(3))
    layout = layout_of(lengths, count, hash_code_len)
    functions = None
    if kind == "fast":
        signs = hash_signs(num_hash, hash_code_len, width, heads=count, seed=3)
        functions = HashFunctions(num_hash, signs=signs)
    elif kind == "gaussian":
        matrix = gaussian_projection(num_hash, hash_code_len, width, heads=count, seed=3)
        functions = HashFunctions(num_hash, projection=matrix)

    def attend(ops: Any, q: np.ndarray, k: np.ndarray, v: np.ndarray, layout: Layout) -> np.ndarray:
        if functions is None:
            return ops.expected_attention(q, k, v, ops.layout(layout))
        return ops.sampled_attention(q, k, v, ops.layout(layout), ops.hash_functions(functions))

    got = attend(CpuOps(3, variant), query, key, value, layout)
    assert got.shape == (total, count * width)
    single = CpuOps(1, variant)
    for begin, end in zip(layout.offsets[:-1], layout.offsets[1:], strict=True):
        text = slice(begin, end)
        alone = layout_of([int(end - begin)], count, hash_code_len)
        np.testing.assert_array_equal(
            attend(single, query[text], key[text], value[text], alone), got[text]
        )
        # The last rows only, as the last layer asks for them.
        last = slice(max(begin, end - 2), end)
        rows = np.array([0, last.stop - last.start])
        picked = Layout(count, hash_code_len, rows, alone.offsets)
        np.testing.assert_array_equal(
            attend(single, query[last], key[text], value[text], picked), got[last]
        )
    if kind != "gaussian" and width > 3:
        wanted = attend(PLAIN, query, key, value, layout)
        # Normalised sums: values that cancel, or a bucket nobody is in, leave no direction.
        lengths_of = np.linalg.norm(wanted.reshape(total, count, width), axis=2)
        sums = np.abs(got - wanted).reshape(total, count, width)[lengths_of > 0.5]
        assert sums.max(initial=0.0) < 1e-3
        assert np.median(sums) < OP if sums.size else True


@pytest.mark.parametrize("variant", VARIANTS)
def test_codes_are_the_same_on_every_instruction_set(variant: str) -> None:
    x = draw(5, 300, 2 * 64)
    functions = HashFunctions(37, signs=hash_signs(37, 9, 64, heads=2, seed=0))
    wanted = definitions.fast_hash(
        np.ascontiguousarray(x.reshape(300, 2, 64).transpose(1, 0, 2)),
        functions.signs,
        num_hash=37,
        hash_code_len=9,
    )
    ops = CpuOps(2, variant)
    codes = ops.codes(x, ops.hash_functions(functions), 9)
    np.testing.assert_array_equal(codes.transpose(0, 2, 1), wanted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nan_in_a_row_stays_in_its_text(variant: str) -> None:
    ops = CpuOps(2, variant)
    qkv = draw(1, 60, 3 * 32)
    clean = qkv.copy()
    qkv[3] = np.nan
    layout = layout_of([20, 40], 2, 5)
    parts = [slice(0, 32), slice(32, 64), slice(64, 96)]
    functions = ops.hash_functions(HashFunctions(8, signs=hash_signs(8, 5, 16, heads=2, seed=0)))
    for attend in (ops.expected_attention, lambda *a: ops.sampled_attention(*a, functions)):
        got = attend(*(qkv[:, p] for p in parts), layout)
        wanted = attend(*(clean[:, p] for p in parts), layout)
        np.testing.assert_array_equal(got[20:], wanted[20:])


@given(
    lengths=lengths_lists,
    count=st.integers(1, 3),
    window=st.sampled_from([1, 3, 9, 35]),
    gaps=st.booleans(),
    keep=st.booleans(),
)
@settings(max_examples=40)
def test_convolution_is_its_definition(
    lengths: list[int], count: int, window: int, gaps: bool, keep: bool
) -> None:
    ops, width = CpuOps(2), 5
    total = sum(lengths)
    rng = np.random.default_rng(total)
    steps = rng.integers(1, 4 if gaps else 2, total)
    layout = layout_of(lengths, count, 4)
    slots = np.concatenate(
        [
            np.cumsum(steps[a:b])
            for a, b in zip(layout.offsets[:-1], layout.offsets[1:], strict=True)
        ]
    ).astype(np.int32)
    context, value = draw(1, total, count * width), draw(2, total, 2 * count * width)[:, ::1]
    value = value[:, : count * width]
    weight = draw(3, count, window)
    kept = rng.integers(0, 2, total).astype(np.float32) if keep else None
    layout = replace(layout, query_slots=slots, slots=slots, keep=kept)
    got = ops.add_convolution(context, value, weight, layout)
    wanted = PLAIN.add_convolution(context, value, weight, layout)
    assert relative_error(got, wanted) < OP
