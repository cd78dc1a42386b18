"""What the functional ops take: shapes by their axes' names, types, and the last values that do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from yosort import InputError
from yosort.arguments import FLOAT32_MAX
from yosort.ops import checks

FLOAT, CODES, MASK = np.zeros((2, 3, 4), "f4"), np.zeros((2, 3, 5), np.int64), np.ones((2, 3))
SIGNS = np.ones((2, 3, 5, 8), np.int8)  # of 8 bits each: a transform a function

ARGUMENTS: dict[str, dict[str, Any]] = {
    "fast_hash": {"x": FLOAT, "signs": SIGNS, "num_hash": 5, "hash_code_len": 8, "mask": MASK},
    "gaussian_hash": {"x": FLOAT, "projection": np.zeros((2, 4, 10), "f4"), "num_hash": 5,
                      "hash_code_len": 2, "mask": MASK},
    "lsh_cumulation": {"query_codes": CODES, "key_codes": np.zeros((2, 6, 5), np.uint8),
                       "value": np.zeros((2, 6, 7), "f4"), "hash_code_len": 3, "query_mask": MASK,
                       "key_mask": np.ones((2, 6), bool)},
    "expected_attention": {"query": FLOAT, "key": np.zeros((2, 6, 4), "f8"),
                           "value": np.zeros((2, 6, 7), "f4"), "hash_code_len": 3,
                           "query_mask": None, "key_mask": None},
}  # fmt: skip


def check(op: str, **changed: Any) -> None:
    getattr(checks, f"check_{op}")(**{**ARGUMENTS[op], **changed})


@pytest.mark.parametrize("op", ARGUMENTS)
def test_what_fits_is_taken(op: str) -> None:
    check(op)
    masks = [name for name in ARGUMENTS[op] if "mask" in name]
    check(op, **dict.fromkeys(masks))


@pytest.mark.parametrize(
    ("op", "name", "value", "wanted"),
    [
        ("fast_hash", "x", FLOAT[0], "shape [batch, n, dim], got [3, 4]"),
        ("fast_hash", "x", CODES, "floating point values, got dtype int64"),
        ("fast_hash", "signs", SIGNS[:1], "shape [2, 3, 5, 8], got [1, 3, 5, 8]"),
        ("fast_hash", "signs", SIGNS[..., :4], "shape [2, 3, 5, 8], got [2, 3, 5, 4]"),
        ("fast_hash", "signs", SIGNS.astype("f4"), "integer values, got dtype float32"),
        ("fast_hash", "signs", 2 * SIGNS, "only -1 and 1, got other values"),
        ("fast_hash", "mask", MASK[:1], "shape [2, 3], got [1, 3]"),
        ("gaussian_hash", "x", FLOAT[..., None], "shape [batch, n, dim], got [2, 3, 4, 1]"),
        ("gaussian_hash", "projection", FLOAT, "shape [2, 4, 10], got [2, 3, 4]"),
        ("gaussian_hash", "mask", np.full((2, 3), 0.5), "zeros and ones, got 0.5"),
        ("lsh_cumulation", "query_codes", CODES[0], "shape [batch, n, num_hash], got [3, 5]"),
        ("lsh_cumulation", "query_codes", CODES == 0, "integer or unsigned values, got dtype bool"),
        ("lsh_cumulation", "query_codes", CODES + 8, "codes from 0 to 7 (hash_code_len 3), got 8 "),
        ("lsh_cumulation", "query_codes", CODES - 1, "codes from 0 to 7 (hash_code_len 3), got -1"),
        ("lsh_cumulation", "key_codes", CODES[:1], "shape [2, n, 5], got [1, 3, 5]"),
        ("lsh_cumulation", "value", FLOAT, "shape [2, 6, dim], got [2, 3, 4]"),
        ("lsh_cumulation", "query_mask", np.ones((2, 6)), "shape [2, 3], got [2, 6]"),
        ("lsh_cumulation", "key_mask", MASK, "shape [2, 6], got [2, 3]"),
        ("lsh_cumulation", "key_mask", np.full((2, 6), -1), "zeros and ones, got -1"),
        ("expected_attention", "query", FLOAT[0, 0], "shape [batch, n, dim], got [4]"),
        ("expected_attention", "key", CODES / 9, "shape [2, n, 4], got [2, 3, 5]"),
        ("expected_attention", "value", FLOAT[0], "shape [2, 6, value_dim], got [3, 4]"),
        ("expected_attention", "query_mask", np.ones((2, 6)), "shape [2, 3], got [2, 6]"),
        ("expected_attention", "key_mask", MASK, "shape [2, 6], got [2, 3]"),
        ("expected_attention", "key", np.full((2, 6, 4), 0.51), "rows of length at most 1 (L2-nor"),
        ("expected_attention", "query", FLOAT + 0.51, "rows of length at most 1 (L2-norm"),
    ],
)  # fmt: skip
def test_what_does_not_is_named_with_what_would(
    op: str, name: str, value: Any, wanted: str
) -> None:
    with pytest.raises(InputError) as caught:
        check(op, **{name: value})
    assert str(caught.value).startswith(f"{name}: wanted {wanted}")


@pytest.mark.parametrize(
    ("op", "name", "shape", "most"),
    [
        # Three transforms of sums of 8; sums over five functions and six keys; over six keys.
        ("fast_hash", "x", (2, 3, 4), FLOAT32_MAX / 8**3),
        ("lsh_cumulation", "value", (2, 6, 7), FLOAT32_MAX / 30),
        ("expected_attention", "value", (2, 6, 7), FLOAT32_MAX / 6),
        ("gaussian_hash", "projection", (2, 4, 10), FLOAT32_MAX),
    ],
)
def test_the_largest_sum_is_one_that_float32_holds(
    op: str, name: str, shape: tuple[int, ...], most: float
) -> None:
    for sign in (1, -1):
        check(op, **{name: np.full(shape, sign * 0.9999 * most)})
        for bad in (1.0001 * most * sign, np.nan, np.inf):
            with pytest.raises(InputError, match=rf"{name}: wanted finite values of at most "):
                check(op, **{name: np.full(shape, bad)})


def test_one_key_and_one_function_may_sum_to_the_largest_number() -> None:
    code, value = np.zeros((1, 1, 1), np.int32), np.full((1, 1, 4), FLOAT32_MAX)
    check("lsh_cumulation", query_codes=code, key_codes=code, value=value, query_mask=None,
          key_mask=None)  # fmt: skip


def test_what_masks_leave_out_is_not_looked_at() -> None:
    none = np.zeros((2, 3))
    for op, name, mask in (
        ("fast_hash", "x", "mask"), ("gaussian_hash", "x", "mask"),
        ("expected_attention", "query", "query_mask"),
    ):  # fmt: skip
        check(op, **{name: np.full((2, 3, 4), np.nan), mask: none})
    for op in ("lsh_cumulation", "expected_attention"):
        check(op, value=np.full((2, 6, 7), np.inf), key_mask=np.zeros((2, 6)))
    check("expected_attention", key=np.full((2, 6, 4), 9.0), key_mask=np.zeros((2, 6)))


def test_codes_and_lengths_up_to_their_last_value() -> None:
    check("lsh_cumulation", query_codes=CODES + 7)
    check("lsh_cumulation", query_codes=CODES[:, :0], query_mask=None)
    check("expected_attention", query=FLOAT + 0.5)  # of length 1
    check("expected_attention", query=FLOAT + 0.50049)  # as float16 rounds it


def test_arrays_alone_are_taken() -> None:
    for odd, got in ((FLOAT.tolist(), "list"), (None, "NoneType"), (3.0, "float")):
        with pytest.raises(InputError, match=f"x: wanted an array, got {got}"):
            check("fast_hash", x=odd)
    with pytest.raises(InputError, match="x: wanted a plain array, got a masked one"):
        check("fast_hash", x=np.ma.masked_array(FLOAT))
