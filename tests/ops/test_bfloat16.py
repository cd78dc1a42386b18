"""Products of bfloat16 beside test_ops.py: rounding, the order of sums, angles."""

from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tolerances import BFLOAT16_ROUNDING, POLE

from ops.cases import draw, layout_of
from ops.conftest import ORDERS, VARIANTS
from yosort import _expectation
from yosort._dense import PackedLinear
from yosort.ops import definitions
from yosort.ops.cpu.backend import LARGE_HEAD, CpuOps
from yosort.ops.cpu.bfloat16 import Bfloat16Ops
from yosort.ops.cpu.int8 import Int8Ops
from yosort.widened import Widened


@pytest.mark.parametrize("variant", VARIANTS)
@given(
    rows=st.integers(0, 60),
    depth=st.integers(1, 600),
    columns=st.integers(1, 70),
    threads=st.integers(1, 3),
)
@settings(max_examples=15, deadline=None)
def test_products_have_the_bits_of_the_definition(
    variant: str, rows: int, depth: int, columns: int, threads: int
) -> None:
    x = draw(1, rows, depth + 3)[:, 2 : depth + 2]
    weight, bias = draw(2, columns, depth), draw(3, columns)
    ops = Bfloat16Ops(threads, variant)
    got = ops.linear(x, ops.linear_map([weight], [bias]))
    wanted = definitions.bfloat16_linear(x, weight, bias, order=ORDERS.get(variant, "words"))
    np.testing.assert_array_equal(got, wanted)


#: float32 bits, and the upper half that they are rounded to.
ROUNDED = {
    0x3F800000: 0x3F80,  # 1
    0x3F807FFF: 0x3F80,  # below half of the way to the next
    0x3F808000: 0x3F80,  # half of it: to the even one
    0x3F818000: 0x3F82,
    0x3F808001: 0x3F81,
    0xBF818000: 0xBF82,
    0x3FFFFFFF: 0x4000,  # into the exponent
    0x7F7FFFFF: 0x7F80,  # beyond the largest: infinity
    0x7F800000: 0x7F80,
    0xFF800000: 0xFF80,
    0x80000000: 0x8000,
    0x7F800001: 0x7FC0,  # NaN stays NaN, where its lower half alone tells, too
    0x7FFFFFFF: 0x7FFF,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_numbers_are_rounded_to_the_nearest_and_ties_to_even(variant: str) -> None:
    x = np.array(list(ROUNDED), np.uint32).view(np.float32)
    wanted = (np.array(list(ROUNDED.values()), np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(definitions.bfloat16(x).view(np.uint32), wanted.view(np.uint32))
    # Through a product with 1: as an activation, and as a weight.
    ops, one = Bfloat16Ops(1, variant), np.ones((1, 1), np.float32)
    column, nothing = np.ascontiguousarray(x[:, None]), [np.zeros(1, np.float32)]
    got = ops.linear(column, ops.linear_map([one], nothing))[:, 0]
    np.testing.assert_array_equal(got, wanted)
    zeros = [np.zeros(len(x), np.float32)]
    np.testing.assert_array_equal(ops.linear(one, ops.linear_map([column], zeros))[0], wanted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_map_is_half_as_large_and_may_come_in_its_type(variant: str) -> None:
    ops, weight, bias = Bfloat16Ops(2, variant), draw(1, 64, 512), draw(2, 64)
    x = draw(3, 40, 512)
    packed = ops.linear_map([weight], [bias])
    assert packed.kind == "bfloat16"
    assert packed.panels.nbytes == weight.nbytes / 2
    stored = Widened((definitions.bfloat16(weight).view(np.uint32) >> 16).astype(np.uint16))
    again = ops.linear_map([stored], [bias])
    np.testing.assert_array_equal(ops.linear(x, packed, "gelu"), ops.linear(x, again, "gelu"))


@given(
    st.lists(
        st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), min_size=2, max_size=2
    )
)
def test_sums_rounded_to_odd_are_exact_or_the_odd_neighbour(numbers: list[float]) -> None:
    exact = sum(map(Fraction, numbers))
    assume(exact == 0 or abs(exact) >= 2**-126)
    got = definitions.add_to_odd(*np.array(numbers, np.float32))
    below, above = (np.nextafter(got, np.float32(end)) for end in (-np.inf, np.inf))
    assert Fraction(float(below)) < exact < Fraction(float(above))
    assert exact == Fraction(float(got)) or got.view(np.uint32) & 1


def test_small_heads_stay_float32() -> None:
    ops, zeros = Bfloat16Ops(1), np.zeros(LARGE_HEAD // 64 + 1, np.float32)
    large = np.zeros((len(zeros), 64), np.float32)
    assert ops.linear_map([large[:-1]], [zeros[:-1]], head=True).kind == "float32"
    assert ops.linear_map([large], [zeros], head=True).kind == "bfloat16"
    assert ops.linear_map([large[:-1]], [zeros[:-1]]).kind == "bfloat16"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("ops", [Bfloat16Ops, Int8Ops])
def test_angles_move_by_as_much_as_vectors_turn(ops: type[CpuOps], variant: str) -> None:
    """Keys beside their queries keep their weights, which cosines of rounded vectors would not."""
    query = definitions.l2_normalize(draw(1, 64, 64)).astype(np.float32)
    layout, values = layout_of([64], 1, 9), np.eye(64, dtype=np.float32)
    for distance in (0.0, 1e-3, 1e-2, 0.1, 1.0):
        key = definitions.l2_normalize(query + distance / 8 * draw(2, 64, 64)).astype(np.float32)
        sums = ops(1, variant).expectation(query, key, values, layout)
        wanted = definitions.expected_attention(
            query[None], key[None], values[None], hash_code_len=9
        )[0]
        turned = 9 * 2 * 2**-8 / np.pi  # both vectors
        bound = turned + 2 * BFLOAT16_ROUNDING + 9 * POLE
        assert np.abs(np.diag(sums) - np.diag(wanted)).max() < bound
    rounded = definitions.bfloat16(query)
    cosines = (rounded.astype(np.float64) * rounded).sum(axis=1)
    assert definitions.collision_probability(cosines, 9).min() < 1 - 2 * bound


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bits", [0x7F800001, 0x7FFFFFFF, 0xFF800001])
@pytest.mark.parametrize("key", [0, 1])
def test_nan_of_a_value_stays_in_its_column(variant: str, bits: int, key: int) -> None:
    """Of a pair of keys that are multiplied at once, whose bits are one word."""
    rows = definitions.l2_normalize(draw(1, 2, 8)).astype(np.float32)
    values = np.ones((2, 3), np.float32)
    values[key, 1] = np.array(bits, np.uint32).view(np.float32)
    sums = Bfloat16Ops(1, variant).expectation(rows, rows, values, layout_of([2], 1, 9))
    np.testing.assert_array_equal(np.isnan(sums), [[False, True, False]] * 2)
    assert (sums[:, [0, 2]] > 0.9).all()
    assert (sums[:, [0, 2]] < 2).all()


def test_a_product_that_attention_has_not_is_refused() -> None:
    ops, rows = Bfloat16Ops(1), draw(1, 3, 8)
    offsets, out = np.array([0, 3]), np.zeros((3, 8), np.float32)
    with pytest.raises(ValueError, match="no product of attention: int8"):
        _expectation.expected_attention(
            ops.kernels, ops.pool, rows, rows, rows, offsets, offsets, 1, 9, True, out, "int8"
        )


def test_a_processor_that_is_no_faster_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "yosort"):
        ops = Bfloat16Ops(1, "baseline")
    assert not ops.kernels.multiplies("bfloat16")
    assert "bfloat16: this processor (baseline) is no faster with it" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "yosort"):
        fast = Bfloat16Ops(1)
    assert ("is no faster with it" in caplog.text) != fast.kernels.multiplies("bfloat16")


def test_several_weights_are_one_map() -> None:
    ops, x = Bfloat16Ops(2), draw(1, 40, 33)
    weights, biases = [draw(i, n, 33) for i, n in enumerate((64, 7, 128))], []
    biases = [draw(9, len(weight)) for weight in weights]
    apart = [ops.linear(x, ops.linear_map([w], [b])) for w, b in zip(weights, biases, strict=True)]
    packed: PackedLinear = ops.linear_map(weights, biases)
    np.testing.assert_array_equal(ops.linear(x, packed), np.concatenate(apart, axis=1))
