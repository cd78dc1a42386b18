"""Argument checks of the functional ops: done once, above every backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from yosort.arguments import FLOAT32_MAX
from yosort.errors import InputError
from yosort.ops.hashing import check_hash_sizes, hash_dim, hash_parts


def check_array(name: str, array: Any, shape: tuple[int | str | None, ...], kinds: str) -> None:
    """Raise InputError unless `array` has this many axes, these sizes and a dtype of `kinds`.

    Args:
        name: what the message calls it.
        array: numpy or cupy array.
        shape: per axis an exact size, or a name for an axis of any size.
        kinds: numpy's dtype kinds that will do, such as "f" or "iu".
    """
    if not isinstance(array, np.ndarray) and type(array).__module__.partition(".")[0] != "cupy":
        raise InputError.wanted(name, "an array", got=type(array).__name__)
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name}: wanted a plain array, got a masked one; give its mask by itself")
    got = array.shape
    fits = len(got) == len(shape) and all(
        not isinstance(want, int) or want == have for want, have in zip(shape, got, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(axis) for axis in shape)
        raise InputError.wanted(name, f"shape [{wanted}]", got=list(got))
    if array.dtype.kind not in kinds:
        names = {"f": "floating point", "i": "integer", "u": "unsigned", "b": "boolean"}
        wanted = " or ".join(names[k] for k in kinds)
        raise InputError.wanted(name, f"{wanted} values", got=f"dtype {array.dtype}")


def check_finite(name: str, array: Any, largest: float = FLOAT32_MAX, mask: Any = None) -> float:
    """Return the largest |value|, 0 of none; raise InputError if one is NaN or above `largest`.

    Rows that `mask` [batch, n] leaves out may hold anything.
    """
    rows = array if mask is None else array[mask != 0]
    found = float(abs(rows).max()) if rows.size else 0.0
    if not found <= largest:
        raise InputError(
            f"{name}: wanted finite values of at most {largest:.3g}, for sums in float32; got NaN "
            "or larger ones"
        )
    return found


def check_mask(name: str, mask: Any, batch: int, n: int) -> None:
    """Raise InputError unless `mask` is None or holds [batch, n] zeros and ones."""
    if mask is None:
        return
    check_array(name, mask, (batch, n), "biuf")
    bad = (mask != 0) & (mask != 1)
    if bool(bad.any()):
        raise InputError.wanted(name, "zeros and ones", got=mask[bad][0])


def check_fast_hash(x: Any, signs: Any, num_hash: int, hash_code_len: int, mask: Any) -> None:
    """Check the arguments of `fast_hash`."""
    check_array("x", x, ("batch", "n", "dim"), "f")
    batch, n, dim = x.shape
    num_hash, hash_code_len, dim = check_hash_sizes(num_hash, hash_code_len, dim)
    parts, width = hash_parts(num_hash, hash_code_len, dim), hash_dim(dim, hash_code_len)
    check_array("signs", signs, (batch, 3, parts, width), "i")
    if not bool((abs(signs) == 1).all()):
        raise InputError.wanted("signs", "only -1 and 1", got="other values")
    check_mask("mask", mask, batch, n)
    check_finite("x", x, FLOAT32_MAX / width**3, mask)  # each of three transforms sums `width`


def check_gaussian_hash(
    x: Any, projection: Any, num_hash: int, hash_code_len: int, mask: Any
) -> None:
    """Check the arguments of `gaussian_hash`."""
    check_array("x", x, ("batch", "n", "dim"), "f")
    batch, n, dim = x.shape
    num_hash, hash_code_len, dim = check_hash_sizes(num_hash, hash_code_len, dim)
    check_array("projection", projection, (batch, dim, num_hash * hash_code_len), "f")
    check_mask("mask", mask, batch, n)
    largest = check_finite("projection", projection)
    check_finite("x", x, FLOAT32_MAX / max(1.0, largest * dim), mask)


def check_lsh_cumulation(
    query_codes: Any, key_codes: Any, value: Any, hash_code_len: int, query_mask: Any, key_mask: Any
) -> None:
    """Check the arguments of `lsh_cumulation`."""
    check_array("query_codes", query_codes, ("batch", "n", "num_hash"), "iu")
    batch, n_query, num_hash = query_codes.shape
    check_array("key_codes", key_codes, (batch, "n", num_hash), "iu")
    n_key = key_codes.shape[1]
    check_array("value", value, (batch, n_key, "dim"), "f")
    hash_code_len = check_hash_sizes(num_hash, hash_code_len, value.shape[2])[1]
    for name, codes in (("query_codes", query_codes), ("key_codes", key_codes)):
        if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < 1 << hash_code_len:
            raise InputError(
                f"{name}: wanted codes from 0 to {(1 << hash_code_len) - 1} "
                f"(hash_code_len {hash_code_len}), got {int(codes.min())} to {int(codes.max())}"
            )
    check_mask("query_mask", query_mask, batch, n_query)
    check_mask("key_mask", key_mask, batch, n_key)
    check_finite("value", value, FLOAT32_MAX / max(1, n_key * num_hash), key_mask)


def check_expected_attention(
    query: Any, key: Any, value: Any, hash_code_len: int, query_mask: Any, key_mask: Any
) -> None:
    """Check the arguments of `expected_attention`."""
    check_array("query", query, ("batch", "n", "dim"), "f")
    batch, n_query, dim = query.shape
    check_array("key", key, (batch, "n", dim), "f")
    n_key = key.shape[1]
    check_array("value", value, (batch, n_key, "value_dim"), "f")
    check_hash_sizes(1, hash_code_len, dim)
    check_mask("query_mask", query_mask, batch, n_query)
    check_mask("key_mask", key_mask, batch, n_key)
    check_finite("value", value, FLOAT32_MAX / max(1, n_key), key_mask)
    for name, rows, mask in (("query", query, query_mask), ("key", key, key_mask)):
        check_finite(name, rows, mask=mask)
        kept = rows if mask is None else rows[mask != 0]
        norm = (kept.astype(np.float64) ** 2).sum(axis=-1) ** 0.5
        if bool((norm > 1.001).any()):
            raise InputError(
                f"{name}: wanted rows of length at most 1 (L2-normalised), "
                f"got one of length {float(norm.max()):.4g}"
            )
