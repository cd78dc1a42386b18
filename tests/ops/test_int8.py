"""Products of 8-bit integers beside test_ops.py: exact sums, rounding, and what stays float32."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import INT8, INT8_MODEL, OP

import yosort
from ops.cases import draw
from ops.conftest import VARIANTS
from yosort import YosoConfig, YosoForMaskedLM, _dense
from yosort._dense import Kernels
from yosort.checkpoint.stored import State
from yosort.ops import definitions
from yosort.ops.cpu.backend import CpuOps
from yosort.ops.cpu.int8 import LARGE_HEAD, Int8Ops
from yosort.quantized import Quantized
from yosort.tuning.int8 import (
    ERROR_BOUND,
    ComparingOps,
    _error,
    _report,
    left_in_float,
    probe_inputs,
    quantize_state,
)


def linear_map(ops: CpuOps, weight: Any, bias: Any, kind: str = "int8") -> Any:
    return _dense.PackedLinear(ops.kernels, [weight], [bias], kind)


@pytest.mark.parametrize("variant", VARIANTS)
@given(
    rows=st.integers(0, 150),
    depth=st.integers(1, 2600),
    columns=st.integers(1, 100),
    threads=st.integers(1, 3),
)
@settings(max_examples=60)
def test_sums_are_exact(variant: str, rows: int, depth: int, columns: int, threads: int) -> None:
    """Integers whose largest is 127 have a scale of 1, so that the sums show as they are."""
    rng = np.random.default_rng([rows, depth, columns])
    x = rng.integers(-127, 128, (rows, depth + 5)).astype(np.float32)[:, 2 : depth + 2]
    x[:, ::1024] = -127  # in each span of the depth
    weight = rng.integers(-127, 128, (columns, depth)).astype(np.float32)
    weight[:, depth // 2] = 127
    ops = CpuOps(threads, variant)
    got = ops.linear(x, linear_map(ops, weight, np.zeros(columns, np.float32)))
    wanted = np.zeros((rows, columns), np.float32)
    for at in range(0, depth, 1024):
        part = slice(at, at + 1024)
        wanted += (x[:, part].astype(np.int64) @ weight[:, part].astype(np.int64).T).astype("f4")
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_saturates(variant: str) -> None:
    ops = CpuOps(1, variant)
    for sign in (1, -1):
        x = np.full((3, 1024), 127, np.float32)
        weight = np.full((40, 1024), sign * 127, np.float32)
        got = ops.linear(x, linear_map(ops, weight, np.zeros(40, np.float32)))
        np.testing.assert_array_equal(got, np.full((3, 40), sign * 127 * 127 * 1024, np.float32))


@pytest.mark.parametrize("variant", VARIANTS)
@given(width=st.integers(1, 300), exponent=st.integers(-120, 120))
@settings(max_examples=40)
def test_rows_are_rounded_as_defined(variant: str, width: int, exponent: int) -> None:
    kernels = Kernels(variant)
    x = draw(1, 9, width) * np.float32(2.0**exponent)
    x[3] = 0
    x[4] = np.round(x[4] / x[4].max() * 254) / 2  # halves, which go to the even neighbour
    quantized = _dense.quantize(kernels, x)
    values, scales = definitions.quantize(x)
    np.testing.assert_array_equal(quantized.values, values)
    np.testing.assert_array_equal(quantized.scales, scales)
    assert definitions.quantize(np.array([[1e-30], [9e-31]], np.float32))[0].tolist() == [
        [127],
        [0],
    ]
    # And as activations: through the identity, which has weights of 127 and scales of 1 / 127.
    ops = CpuOps(2, variant)
    got = ops.linear(x, linear_map(ops, np.eye(width, dtype=np.float32), None))
    unit = scales * np.float32(1 / np.float32(127))
    np.testing.assert_array_equal(got, (127 * values.astype(np.float32)) * unit[:, None])


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_may_come_quantized(variant: str) -> None:
    ops = CpuOps(3, variant)
    x, weight, bias = draw(1, 50, 1300), draw(2, 70, 1300), draw(3, 70)
    made, came = (linear_map(ops, w, bias) for w in (weight, _dense.quantize(ops.kernels, weight)))
    np.testing.assert_array_equal(ops.linear(x, made, "gelu"), ops.linear(x, came, "gelu"))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 33, 70), (60, 700, 129)])
def test_narrow_weights_are_a_float32_product(
    variant: str, rows: int, depth: int, columns: int
) -> None:
    ops = CpuOps(2, variant)
    x, weight, bias = draw(1, rows, depth), draw(2, columns, depth), draw(3, columns)
    quantized = _dense.quantize(ops.kernels, weight)
    narrow = linear_map(ops, quantized, bias, "narrow")
    wide = linear_map(ops, np.asarray(quantized), bias, "float32")
    np.testing.assert_array_equal(ops.linear(x, narrow, "tanh"), ops.linear(x, wide, "tanh"))
    ids = np.array([0, columns - 1, columns // 2, 0])
    np.testing.assert_array_equal(narrow.rows(ids), quantized.take(ids))


def test_a_map_out_of_bounds_stays_float32() -> None:
    ops, exact = Int8Ops(2), CpuOps(2)
    x = draw(1, 90, 64)
    good, outlier = draw(2, 64, 64), draw(3, 64, 64)
    x[:, 7] *= 300  # a channel that takes all of the scale ...
    outlier[:, 7] *= 0.001  # ... and gives little to the result
    weights = {"good": good, "outlier": outlier, "parts": np.concatenate([good, outlier])}
    biases = {name: draw(4, len(w)) for name, w in weights.items()}
    comparing = ComparingOps(ops)
    pairs = {
        name: comparing.linear_map(
            list(np.split(w, len(w) // 64)), list(np.split(b, len(b) // 64)), name=name
        )
        for (name, w), b in zip(weights.items(), biases.values(), strict=True)
    }
    for name, pair in pairs.items():  # what it answers is exact
        wanted = exact.linear(x, exact.linear_map([weights[name]], [biases[name]]))
        np.testing.assert_array_equal(comparing.linear(x, pair), wanted)
    assert left_in_float(comparing.errors) == ["outlier", "parts"]
    assert comparing.errors["good"] < ERROR_BOUND < comparing.errors["outlier"]
    maps = {name: comparing.chosen(pair) for name, pair in pairs.items()}
    assert [m.kind for m in maps.values()] == ["int8", "float32", "float32"]
    for error, kind in ((ERROR_BOUND, "int8"), (np.nan, "float32")):  # as `left_in_float` has it
        comparing.errors["good"] = error
        assert comparing.chosen(pairs["good"]).kind == kind
    for name, packed in maps.items():
        wanted = exact.linear(x, exact.linear_map([weights[name]], [biases[name]]))
        if name == "good":
            assert 0 < relative_error(ops.linear(x, packed), wanted) < INT8
        else:
            np.testing.assert_array_equal(ops.linear(x, packed), wanted)


def test_what_is_not_known_to_be_good_is_left() -> None:
    half, double = ERROR_BOUND / 2, 2 * ERROR_BOUND
    errors = {"half": half, "bound": ERROR_BOUND, "double": double, "bad": np.nan}
    assert left_in_float(errors) == ["double", "bad"]


def test_the_error_of_a_map_is_that_of_its_worst_part() -> None:
    """Root mean squares of the products without their bias, over those of the exact ones."""
    bias = np.array([1.0, 1.0, 5.0], np.float32)
    wanted = np.array([[4.0, 5.0, 5.0], [1.0, 1.0, 25.0]], np.float32)  # 3, 4; 0, 0 | 0; 20
    got = wanted + np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]], np.float32)
    parts: list[tuple[int, Any]] = [(2, bias[:2]), (1, bias[2:])]
    assert _error(parts, wanted, got) == pytest.approx(max(1 / 5, 2 / 20))
    assert _error(parts[1:], wanted[:, 2:], got[:, 2:]) == pytest.approx(2 / 20)
    # What is nothing but its bias has no size to compare with.
    constant = np.tile(bias, (2, 1))
    assert _error(parts, constant, constant) == 0
    assert _error([(3, bias)], constant, constant + np.float32(0.5)) == pytest.approx(6**0.5 / 2)
    for value in (np.nan, np.inf):
        got[0, 2] = value
        assert not _error(parts, wanted, got) <= ERROR_BOUND


@pytest.mark.parametrize(("positions", "tokens"), [(64, 64), (95, 95), (96, 96), (512, 96)])
def test_the_probe_is_of_96_tokens_where_the_model_takes_them(positions: int, tokens: int) -> None:
    config = YosoConfig(vocab_size=5, max_position_embeddings=positions)
    inputs = probe_inputs(config)
    words = inputs.words
    assert len(words) == tokens
    assert {*words.tolist()} == {0, 1, 2, 3, 4}  # all of the vocabulary
    assert not np.any(inputs.token_types)
    np.testing.assert_array_equal(words, probe_inputs(config).words)


@pytest.mark.parametrize(
    ("errors", "warned", "summary"),
    [
        ({"a": 0.01, "b": 0.02}, [], "2 of 2 maps; largest error of a product 0.0200"),
        (
            {"a": 0.01, "b": 0.3, "c": np.nan},
            ["b", "c"],
            "1 of 3 maps; largest error of a product 0.0100",
        ),
        ({"a": 0.06}, ["a"], "0 of 1 maps; largest error of a product 0.0000"),
        ({}, [], None),
    ],
)
def test_what_stays_float32_is_logged(
    errors: dict[str, float],
    warned: list[str],
    summary: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "yosort"):
        _report(errors)
    said = {
        level: [r.getMessage() for r in caplog.records if r.levelname == level]
        for level in ("WARNING", "INFO")
    }
    assert [message.split()[1] for message in said["WARNING"]] == warned
    for name, message in zip(warned, said["WARNING"], strict=True):
        assert f"an error of {errors[name]:.3f}" in message
        assert "0.05" in message
    assert said["INFO"] == ([] if summary is None else [f"int8: {summary}"])


def test_which_weights_of_a_file_become_integers() -> None:
    """The encoder's products and the large tables; no bias, no norm, no head, no token types."""
    model = YosoForMaskedLM(
        YosoConfig(
            vocab_size=200,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=128,
            hash_code_len=4,
        ),
        seed=1,
    )
    state = State.of({k: np.array(v, np.float32) for k, v in model._parameters.items()})
    found = quantize_state(state, model.config, where="here")
    layer = "yoso.encoder.layer.0."
    products = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    )
    wanted = {
        "yoso.embeddings.word_embeddings.weight",
        "yoso.embeddings.position_embeddings.weight",
        "cls.predictions.decoder.weight",
        *(f"{layer}{name}.weight" for name in products),
    }
    integers = {name for name in found if found.tensor(name).dtype == "I8"}
    assert integers == wanted
    assert set(found) == set(state) | {f"{name}_scale" for name in wanted}
    for name in set(state) - wanted:
        np.testing.assert_array_equal(found[name], state[name])
    for name in wanted:
        scales = found[f"{name}_scale"]
        assert found.tensor(f"{name}_scale").dtype == "F32"
        rounded = found[name] * scales[:, None]
        assert np.abs(rounded - state[name]).max() <= scales.max() / 2 * 1.001


def test_heads_compute_in_float32_and_large_ones_are_stored_small() -> None:
    ops = Int8Ops(2)
    x, weight = draw(1, 5, 64), draw(2, 30, 64)
    small = ops.linear_map([weight], [draw(3, 30)], head=True)
    assert small.kind == "float32"
    large, zeros = (np.zeros((LARGE_HEAD // 64 + 1, n), np.float32) for n in (64, 1))
    assert ops.linear_map([large[:-1]], [zeros[:-1, 0]], head=True).kind == "float32"
    packed = ops.linear_map([large], [zeros[:, 0]], head=True)
    assert packed.kind == "narrow"
    assert packed.nbytes < large.nbytes / 3
    quantized = _dense.quantize(ops.kernels, weight)
    narrow = ops.linear_map([quantized], [draw(3, 30)], head=True)
    assert relative_error(ops.linear(x, narrow), x @ np.asarray(quantized).T + draw(3, 30)) < OP


def test_a_tied_decoder_and_its_table_are_held_once() -> None:
    ops = Int8Ops(1)
    weight = draw(1, LARGE_HEAD // 64 + 1, 64)
    few = draw(2, 2, 64)
    table, other = ops.table(weight), ops.table(draw(3, 70, 64))
    zeros = np.zeros(len(weight), np.float32)
    decoder = ops.linear_map([weight], [zeros], head=True, table=table)
    assert table.held is decoder
    assert isinstance(other.held, Quantized)
    np.testing.assert_array_equal(ops.table(few), few)
    ids = np.array([5, len(weight) - 1, 5])
    np.testing.assert_array_equal(
        table.take(ids), np.asarray(_dense.quantize(ops.kernels, weight))[ids]
    )


def test_quantized_counts_as_the_matrix_it_stands_for() -> None:
    values = np.array([[127, -64, 0], [1, 2, 3]], np.int8)
    matrix = Quantized(values, np.array([0.5, 2.0], np.float32))
    dense = np.array([[63.5, -32, 0], [2, 4, 6]], np.float32)
    assert (matrix.shape, matrix.size, matrix.dtype) == ((2, 3), 6, np.int8)
    np.testing.assert_array_equal(np.asarray(matrix), dense)
    assert (np.asarray(matrix).dtype, np.asarray(matrix, np.float64).dtype) == ("f4", "f8")
    np.testing.assert_array_equal(np.asarray(matrix[1:], np.float64), dense[1:])
    np.testing.assert_array_equal(matrix.take(np.array([1, 0, 1])), dense[[1, 0, 1]])
    np.testing.assert_array_equal(np.asarray(matrix.followed_by(matrix)), np.tile(dense, (2, 1)))


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_s_large_decoder_is_its_table_where_it_is_tied(tied: bool) -> None:
    config = yosort.YosoConfig(
        vocab_size=LARGE_HEAD // 64 + 1, hidden_size=64, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=16,
        tie_word_embeddings=tied,
    )  # fmt: skip
    small, exact = (
        yosort.YosoForMaskedLM(config, device="cpu", dtype=dtype) for dtype in ("int8", "float32")
    )
    assert (small._encoder.tables.word.held is small._decoder) == tied
    ids = [[5, config.vocab_size - 1, 5, 7]]
    assert relative_error(small(ids).logits, exact(ids).logits) < INT8_MODEL
