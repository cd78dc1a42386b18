"""Every op on every backend against its definition, and what all backends promise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.cases import (
    ANY_ADD_NORM,
    ANY_ATTENTION,
    ANY_CONVOLUTION,
    ANY_LINEAR,
    ANY_NORM,
    CASES,
    FORMS,
    FORMULAS,
    Activation,
    AddNorm,
    Attention,
    Case,
    Convolution,
    Embed,
    Linear,
    Norm,
    Tail,
    texts_of,
)
from ops.conftest import BACKENDS, BFLOAT16, CPU, INT8, Backend, named


def on(*backends: Backend) -> pytest.MarkDecorator:
    """Run a test on these backends alone."""
    return pytest.mark.parametrize("backend", [named(b) for b in backends], indirect=True)


@pytest.mark.parametrize(
    ("backend", "case"),
    [named(backend, case) for backend in BACKENDS for case in CASES if backend.takes(case)],
    indirect=["backend"],
)
def test_op_is_its_definition(backend: Backend, case: Case) -> None:
    backend.check(case)


@on(*CPU, *INT8, *BFLOAT16)
@given(case=ANY_LINEAR, threads=st.integers(1, 3))
@settings(max_examples=40)
def test_linear_of_any_shape(backend: Backend, case: Linear, threads: int) -> None:
    backend.check(case, threads)
    # A row's bits depend on nothing but the row.
    case = replace(case, activation="gelu")
    arrays, third = backend.draw(case), case.rows // 3
    whole = backend.run(case, arrays, threads)[0]
    for rows in (slice(0, third), slice(third, None)):
        alone = backend.run(case, arrays | {"x": arrays["x"][rows]})[0]
        np.testing.assert_array_equal(alone, whole[rows])


@on(*CPU)
@given(case=ANY_NORM | ANY_ADD_NORM)
@settings(max_examples=50)
def test_layer_norm_of_any_width(backend: Backend, case: Norm | AddNorm) -> None:
    backend.check(case)


@on(*CPU)
@given(case=ANY_ATTENTION)
@settings(max_examples=60)
def test_attention_over_ragged_texts(backend: Backend, case: Attention) -> None:
    backend.check(case)
    check_texts_alone(backend, case)


@on(CPU[0])
@given(case=ANY_CONVOLUTION)
@settings(max_examples=40)
def test_convolution_of_any_shape(backend: Backend, case: Convolution) -> None:
    backend.check(case)


@on(*CPU)
@pytest.mark.parametrize("activation", FORMULAS)
def test_activations_at_every_value(backend: Backend, activation: str) -> None:
    backend.check(Activation(activation, 12, 40_001))


def attend(backend: Backend, case: Attention, order: int, *arguments: Any) -> np.ndarray:
    """Return the context of some texts on the host, with this number or order of threads."""
    ops = backend.make(order)
    with ops.running():
        return np.asarray(ops.to_host(case.attend(ops, *arguments)))


def check_texts_alone(backend: Backend, case: Attention) -> None:
    """A text's bits depend neither on its batch nor on how many of its rows are asked for."""
    qkv = backend.draw(case)["qkv"]
    together = attend(backend, case, 3, qkv, case.lengths)
    for n, text in zip(case.lengths, texts_of(case.lengths), strict=True):
        alone = attend(backend, case, 1, qkv[text], [n])
        np.testing.assert_array_equal(alone, together[text])
        if backend.name != "plain":  # whose products are NumPy's
            last = np.arange(max(0, n - 2), n)
            picked = attend(backend, case, 2, qkv[text], [n], last)
            np.testing.assert_array_equal(picked, alone[last])


@pytest.mark.parametrize("form", ["fast", "gaussian"])
@pytest.mark.parametrize("which", [0b001001, 0b100110, 0b111101])
def test_texts_of_both_forms_in_one_call(backend: Backend, form: str, which: int) -> None:
    """Each text's bits are those of a call of its form alone, and no row is left as it was."""
    case = Attention(form, 2, 12, 5, 6, (7, 70, 0, 33, 4, 1))
    qkv = backend.draw(case)["qkv"]
    sampled = np.array([bool(which >> i & 1) for i in range(len(case.lengths))])
    rows = np.delete(np.arange(len(qkv)), np.arange(3, 70, 2))
    for some in (None, rows):
        exact, drawn, mixed = (
            attend(backend, case, 2, qkv, case.lengths, some, forms)
            for forms in (False, True, sampled)
        )
        of_rows = np.repeat(sampled, case.lengths)[slice(None) if some is None else some]
        np.testing.assert_array_equal(mixed, np.where(of_rows[:, None], drawn, exact))
        assert not np.array_equal(exact, drawn)


@pytest.mark.parametrize("form", FORMS)
def test_a_text_does_not_depend_on_its_batch(backend: Backend, form: str) -> None:
    """Enough texts, one beyond a block of rows, that a choice of blocks by their number shows."""
    check_texts_alone(backend, Attention(form, 2, 8, 9, 4, (5, 0, 70, 3, 1, 18)))


@pytest.mark.parametrize(
    "case",
    [
        Linear(150, 33, 70, "gelu"),
        Norm(70, 64),
        AddNorm(70, 24, 31),
        Embed(70, 33),
        Tail(70, 24, 40),
        *(Attention(form, 2, 20, 13, 6, (70, 3), step=2) for form in FORMS),
        Convolution((70, 3), 3, 9),
    ],
    ids=str,
)
def test_threads_and_their_order_change_no_bit(backend: Backend, case: Case) -> None:
    arrays = backend.draw(case)
    wanted = backend.run(case, arrays)
    for threads in (2, 3):
        for got, expected in zip(backend.run(case, arrays, threads), wanted, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("backend", "case"),
    [
        *(
            named(backend, Tail(200, hidden, middle, following))
            for backend in (*CPU, *INT8, *BFLOAT16)
            for hidden, middle in ((48, 80), (33, 1), (1, 3), (800, 2100))
            for following in (True, False)
        ),
        *(
            named(backend, Tail(200, hidden, middle, exact=name))
            for backend in INT8
            for hidden, middle in ((48, 80), (33, 1))
            for name in ("output", "up", "down", "next")
        ),
    ],
    indirect=["backend"],
)
def test_the_fused_tail_gives_the_bits_of_its_steps(backend: Backend, case: Tail) -> None:
    a, fused, single = backend.draw(case), backend.make(3), backend.make(1)
    tail, following = case.prepare(fused, a)
    assert fused.fuse(tail, following) is not None
    whole = case.apply(fused, tail, following, a)
    steps = replace(case, fused=False)
    rows = [{name: a[name][i : i + 1] for name in ("context", "x")} for i in range(case.rows)]
    pieces = [steps.apply(single, tail, following, row) for row in rows]
    for got, wanted in zip(whole, zip(*pieces, strict=True), strict=True):
        np.testing.assert_array_equal(got, np.concatenate(wanted))


@pytest.mark.parametrize("form", FORMS)
def test_nan_in_a_row_stays_in_its_text(backend: Backend, form: str) -> None:
    case = Attention(form, 2, 16, 8, 5, (20, 40))
    clean = backend.draw(case)["qkv"]
    dirty = clean.copy()
    dirty[3] = np.nan
    got, wanted = (attend(backend, case, 1, qkv, case.lengths) for qkv in (dirty, clean))
    np.testing.assert_array_equal(got[20:], wanted[20:])
    if form == "expectation":
        assert np.isnan(got[:20]).all()


@pytest.mark.parametrize("form", FORMS)
def test_nan_of_one_value_takes_its_head_along(backend: Backend, form: str) -> None:
    """A norm that is not a number divides all of the row."""
    case = Attention(form, 2, 8, 9, 1, (12,))
    qkv = backend.draw(case)["qkv"]
    qkv[:, 2 * 16 + 3] = np.nan
    got = attend(backend, case, 1, qkv, case.lengths)
    assert np.isnan(got[:, :8]).all()
    assert np.isfinite(got[:, 8:]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(backend: Backend, bad: float) -> None:
    case = Linear(4, 70, 50)
    clean = backend.draw(case)
    dirty = {name: array.copy() for name, array in clean.items()}
    dirty["x"][2, 7] = bad
    with np.errstate(invalid="ignore"):  # NumPy's products warn
        got, wanted = (backend.run(case, arrays)[0] for arrays in (dirty, clean))
    assert not np.isfinite(got[2]).any()
    np.testing.assert_array_equal(got[[0, 1, 3]], wanted[[0, 1, 3]])


@pytest.mark.parametrize("activation", FORMULAS)
def test_activations_let_nan_through(backend: Backend, activation: str) -> None:
    case = Activation(activation, 1, 3)
    x = np.full((3, 1), np.nan, backend.dtype)
    with np.errstate(invalid="ignore"):
        assert np.isnan(backend.run(case, {"x": x})[0]).all()
