"""The compiled kernels beside test_ops.py: which there are, several weights, heads of texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cases import draw, layout_of
from ops.conftest import CPU, VARIANTS, Backend, named
from yosort._dense import Kernels, PackedLinear
from yosort.ops.cpu.backend import CODE_BYTES, EMBEDDED_ROWS, CpuOps
from yosort.ops.hashing import hash_signs
from yosort.ops.interface import EmbeddingTables, HashFunctions, LayerNorm


def test_a_variant_is_there_and_the_baseline_always() -> None:
    assert VARIANTS[-1] == "baseline"
    with pytest.raises(ValueError, match="no kernels for 'mmx'"):
        CpuOps(1, "mmx")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_product_goes_by_its_name(variant: str) -> None:
    kernels = Kernels(variant)
    assert kernels.products == ["float32", "bfloat16", "rounded", "int8", "narrow"]
    weight = np.eye(3, dtype=np.float32)
    for name in kernels.products:
        assert PackedLinear(kernels, [weight], [None], name).kind == name
    with pytest.raises(ValueError, match=r"no product 'int4'; there are \['float32', "):
        PackedLinear(kernels, [weight], [None], "int4")


@pytest.mark.parametrize("backend", [named(b) for b in CPU], indirect=True)
def test_several_weights_are_one_map(backend: Backend) -> None:
    ops = backend.make(2)
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
@given(
    heads=st.integers(1, 3),
    width=st.sampled_from([1, 3, 8, 16, 20, 32, 33, 64]),
    value_width=st.sampled_from([1, 5, 16, 31, 32, 33, 64, 70]),
    num_hash=st.integers(1, 11),
    hash_code_len=st.integers(1, 13),
    lengths=st.lists(st.integers(0, 70), min_size=1, max_size=4).filter(any),
    step=st.integers(1, 3),
)
def test_a_head_at_a_time_equals_all_heads_in_turn(
    variant: str,
    heads: int,
    width: int,
    value_width: int,
    num_hash: int,
    hash_code_len: int,
    lengths: list[int],
    step: int,
) -> None:
    """Bit for bit, whatever the sizes, and in turn by one head or by all; each is what ran."""
    rows = sum(lengths)
    draws = draw(1, rows, heads * width), draw(2, rows, heads * width)
    key, value = draws[1], draw(3, rows, heads * value_width)
    some = np.arange(0, rows, step)
    query = draws[0][some]
    layout = layout_of(lengths, heads, hash_code_len, some, True)
    signs = hash_signs(num_hash, hash_code_len, width, heads=heads, seed=4)
    found = []
    with pytest.MonkeyPatch.context() as patched:
        for threads, code_bytes in (
            (1, CODE_BYTES),
            (len(lengths) * heads + 1, CODE_BYTES),
            (1, 0),
        ):
            patched.setattr("yosort.ops.cpu.backend.CODE_BYTES", code_bytes)
            ops = CpuOps(threads, variant)
            functions, prepared = (
                ops.hash_functions(HashFunctions(num_hash, signs)),
                ops.layout(layout),
            )
            assert ops._have_a_head_each(prepared, functions) == (not found)
            got = ops.attention(query, key, value, prepared, functions)
            found.append(got.view(np.uint32))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_a_long_text_with_many_hashes_is_not_held_by_every_thread() -> None:
    functions = HashFunctions(256, hash_signs(256, 2, 4, heads=8, seed=0))
    ops = CpuOps(4, "baseline")
    prepared = ops.hash_functions(functions)
    assert ops._have_a_head_each(layout_of([8192] * 99, 8, 2), prepared)
    assert not ops._have_a_head_each(layout_of([8193], 8, 2), prepared)


def test_one_long_text_among_short_ones_is_shared_out() -> None:
    prepared = CpuOps(4, "baseline").hash_functions(
        HashFunctions(2, hash_signs(2, 2, 4, heads=2, seed=0))
    )
    for lengths, enough in (([100] * 2, True), ([100, 99], False), ([100, *[1] * 99], False)):
        assert CpuOps(4, "baseline")._have_a_head_each(layout_of(lengths, 2, 2), prepared) == enough


@pytest.mark.parametrize("types", [1, 2])
@pytest.mark.parametrize("ids", [True, False])
def test_embeddings_of_a_long_text_are_those_of_its_tokens(types: int, ids: bool) -> None:
    """More of them than are gathered at a time."""
    ops, count = CpuOps(1, "baseline"), 2 * EMBEDDED_ROWS + 3
    arrays = [draw(1, 40, 6), draw(2, count, 6), draw(3, types, 6)]
    norm = LayerNorm(draw(4, 6), draw(5, 6), 1e-6)
    tables = EmbeddingTables(*map(ops.table, arrays), norm)
    places = np.arange(count)
    words, given = places % 40 if ids else draw(6, count, 6), (places, places % types)
    together = ops.embed(tables, words, *given)
    alone = [ops.embed(tables, words[[i]], *(x[[i]] for x in given)) for i in range(count)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
