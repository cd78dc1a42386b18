"""The functional ops: against their definitions, upstream's own kernels, and the statistics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import OP, POLE

from ops.cases import draw, error_of_weights
from ops.conftest import need_emulator, real_cupy
from yosort import InputError, ops
from yosort.ops import definitions
from yosort.ops.hashing import gaussian_projection

CASES = sorted((Path(__file__).parent.parent / "data" / "kernel_cases").glob("*.npz"))

sizes = st.integers(1, 40)
code_lengths = st.integers(1, 16)


def draw_mask(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng([seed, 7, *shape]).integers(0, 2, shape)


def unit(x: np.ndarray) -> np.ndarray:
    return definitions.l2_normalize(x).astype(np.float32)


def test_rows_next_to_nothing_are_divided_by_torch_s_bound() -> None:
    rows = np.array([[3.0, 4.0], [0.9e-12, 1.2e-12], [0.3e-12, 0.4e-12], [0.0, 0.0]])
    lengths = np.linalg.norm(definitions.l2_normalize(rows), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 0.5, 0])


def test_there_are_upstream_cases() -> None:
    assert len(CASES) >= 2


@pytest.fixture(params=["numpy", "emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return each array module that the functions take arrays of."""
    if request.param == "numpy":
        return np
    if request.param == "cuda":
        return real_cupy()
    module = need_emulator()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def on_host(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.get()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_upstream_kernels_gave_the_same(xp: Any, path: Path) -> None:
    case = np.load(path)
    sizes = {"num_hash": int(case["num_hash"]), "hash_code_len": int(case["hash_code_len"])}
    a = {name: xp.asarray(case[name]) for name in ("q", "k", "v", "Dmat", "q_mask", "k_mask")}
    query_codes = ops.fast_hash(a["q"], a["Dmat"], mask=a["q_mask"], **sizes)
    key_codes = ops.fast_hash(a["k"], a["Dmat"], mask=a["k_mask"], **sizes)
    np.testing.assert_array_equal(on_host(query_codes), case["q_codes"])
    np.testing.assert_array_equal(on_host(key_codes), case["k_codes"])
    out = ops.lsh_cumulation(
        query_codes,
        key_codes,
        a["v"],
        hash_code_len=sizes["hash_code_len"],
        query_mask=a["q_mask"],
        key_mask=a["k_mask"],
    )
    assert type(out) is xp.ndarray
    # Integers over a power of two: exact in float32, so equal to the last bit.
    np.testing.assert_array_equal(on_host(out), case["out"])


def test_a_projection_of_no_heads() -> None:
    with pytest.raises(InputError, match=r"^heads: wanted an integer of at least 1, got 0"):
        gaussian_projection(5, 7, 12, heads=0, seed=1)


def test_masks_and_the_slow_hash(xp: Any) -> None:
    x, mask = draw(4, 2, 9, 12), draw_mask(4, 2, 9)
    query, key = unit(draw(5, 2, 9, 12)), unit(draw(6, 2, 9, 12))
    matrix = gaussian_projection(5, 7, 12, heads=2, seed=1)
    sizes = {"num_hash": 5, "hash_code_len": 7}
    got = ops.gaussian_hash(xp.asarray(x), xp.asarray(matrix), **sizes)
    np.testing.assert_array_equal(on_host(got), definitions.gaussian_hash(x, matrix, **sizes))
    arrays, masks = (query, key, x), {"query_mask": mask, "key_mask": mask}
    got = ops.expected_attention(
        *map(xp.asarray, arrays),
        hash_code_len=7,
        **{name: xp.asarray(array) for name, array in masks.items()},
    )
    wanted = definitions.expected_attention(*arrays, hash_code_len=7, **masks)
    assert relative_error(on_host(got), wanted) <= OP


@given(
    batch=st.integers(0, 3),
    n=st.integers(0, 50),
    dim=st.integers(1, 130),
    num_hash=st.integers(1, 300),
    hash_code_len=code_lengths,
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=80)
def test_fast_hash_is_its_definition_bit_for_bit(
    batch: int, n: int, dim: int, num_hash: int, hash_code_len: int, seed: int
) -> None:
    x = draw(seed, batch, n, dim)
    signs = ops.hash_signs(num_hash, hash_code_len, dim, heads=max(batch, 1), seed=seed)[:batch]
    mask = draw_mask(seed, batch, n)
    arguments: dict[str, Any] = {"num_hash": num_hash, "hash_code_len": hash_code_len, "mask": mask}
    got = ops.fast_hash(x, signs, **arguments)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, definitions.fast_hash(x, signs, **arguments))


@given(
    n_query=st.integers(0, 60),
    n_key=st.integers(0, 60),
    dim=st.integers(1, 70),
    num_hash=st.integers(1, 40),
    hash_code_len=code_lengths,
    seed=st.integers(0, 99),
    masked=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_lsh_cumulation_is_its_definition(
    n_query: int, n_key: int, dim: int, num_hash: int, hash_code_len: int, seed: int, masked: bool
) -> None:
    rng = np.random.default_rng(seed)
    # Few distinct codes, so that buckets fill up.
    limit = min(1 << hash_code_len, 8)
    query_codes = rng.integers(0, limit, (2, n_query, num_hash))
    key_codes = rng.integers(0, limit, (2, n_key, num_hash))
    value = draw(seed, 2, n_key, dim)
    arguments: dict[str, Any] = {"hash_code_len": hash_code_len}
    if masked:
        arguments["query_mask"] = draw_mask(seed, 2, n_query)
        arguments["key_mask"] = draw_mask(seed, 2, n_key)
    got = ops.lsh_cumulation(query_codes, key_codes, value, **arguments)
    assert got.dtype == np.float32
    wanted = definitions.lsh_cumulation(query_codes, key_codes, value, **arguments)
    assert relative_error(got, wanted) < OP


@given(
    n_query=st.integers(0, 60),
    n_key=st.integers(0, 60),
    dim=st.integers(1, 130),
    value_dim=st.integers(1, 70),
    hash_code_len=code_lengths,
    seed=st.integers(0, 99),
    masked=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_expected_attention_is_its_definition(
    n_query: int, n_key: int, dim: int, value_dim: int, hash_code_len: int, seed: int, masked: bool
) -> None:
    query, key = unit(draw(seed, 2, n_query, dim)), unit(draw(seed + 100, 2, n_key, dim))
    value = draw(seed, 2, n_key, value_dim)
    arguments: dict[str, Any] = {"hash_code_len": hash_code_len}
    if masked:
        arguments["query_mask"] = draw_mask(seed, 2, n_query)
        arguments["key_mask"] = draw_mask(seed, 2, n_key)
    got = ops.expected_attention(query, key, value, **arguments)
    wanted = definitions.expected_attention(query, key, value, **arguments)
    error = error_of_weights(query, key, hash_code_len)
    both = definitions.expected_attention(query, key, np.abs(value), hash_code_len=hash_code_len)
    bound = error @ np.abs(value.astype(np.float64)) + OP * both
    assert (np.abs(got - wanted) <= bound + 1e-12).all()


@pytest.mark.parametrize("hash_code_len", [1, 2, 8, 9, 16])
def test_expected_attention_at_the_poles(hash_code_len: int) -> None:
    """Equal and opposite rows: rounding past 1 must not make NaN, as it does upstream."""
    key = unit(draw(5, 1, 200, 64))
    value = np.eye(200, dtype=np.float32)[None]
    for sign in (1, -1):
        weights = ops.expected_attention(sign * key, key, value, hash_code_len=hash_code_len)[0]
        wanted = float(sign == 1)
        bound = POLE * hash_code_len if sign == 1 or hash_code_len == 1 else 1e-7
        assert np.abs(np.diagonal(weights) - wanted).max() < bound


def estimate(kind: str, rows: list[np.ndarray], value: np.ndarray, seed: int) -> np.ndarray:
    """One estimate of expected attention: 25 hashes of 6 bits, drawn from a seed."""
    sizes = {"num_hash": 25, "hash_code_len": 6}
    dim = rows[0].shape[-1]
    if kind == "fast":
        signs = ops.hash_signs(25, 6, dim, heads=1, seed=seed)
        codes = [ops.fast_hash(x, signs, **sizes) for x in rows]
    else:
        matrix = gaussian_projection(25, 6, dim, heads=1, seed=seed)
        codes = [ops.gaussian_hash(x, matrix, **sizes) for x in rows]
    return ops.lsh_cumulation(codes[0], codes[1], value, hash_code_len=6)


def rows_of(shape: str, n: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return queries and keys [1, n, dim] whose cosines are worth telling apart."""
    if shape == "sparse":
        key = np.eye(dim, dtype=np.float32)[None, :n]
        return unit(key + key[:, np.random.default_rng(3).permutation(n)]), key
    key = unit(draw(2, 1, n, dim))
    return unit(unit(draw(1, 1, n, dim)) + key), key


@pytest.mark.parametrize("shape", ["dense", "sparse"])
@pytest.mark.parametrize(("kind", "bias"), [("gaussian", 0.0), ("fast", 0.05)])
def test_the_mean_over_seeds_converges_to_the_expectation(
    kind: str, bias: float, shape: str
) -> None:
    """The error of k seeds with m hashes each falls as 1 / sqrt(k * m).

    Gaussian hashes are unbiased, so their error goes to 0. The bits of a fast hash share one
    rotation: orthogonal directions agree a little less often than independent ones, a bias of some
    percent that shrinks with the width. A wrong hash (a bit lost, the keys' codes for the queries)
    is off by far more than either bound. One rotation is enough for dense rows; sparse ones, which
    a Hadamard matrix alone turns into permutations of one another, need all three: with two the
    error is 0.13, with one 1.2.
    """
    n, dim = 32, 128
    query, key = rows_of(shape, n, dim)
    value = draw(3, 1, n, 8)
    wanted = definitions.expected_attention(query, key, value, hash_code_len=6)
    runs = np.stack([estimate(kind, [query, key], value, seed) for seed in range(1024)])
    scale = np.sqrt((wanted**2).mean())

    def spread(k: int) -> float:
        """Typical error of a mean over k seeds around the mean over all."""
        means = runs.reshape(1024 // k, k, *wanted.shape).mean(axis=1)
        return float(np.sqrt(((means - runs.mean(axis=0)) ** 2).mean()) / scale)

    # 64 times the seeds, an eighth of the error (a sixteenth part of the seeds is in the mean).
    assert spread(64) / spread(1) == pytest.approx(1 / 8, rel=0.1)
    noise = spread(1) / 1024**0.5
    error = float(np.sqrt(((runs.mean(axis=0) - wanted) ** 2).mean()) / scale)
    assert error < bias + 1.5 * noise
    assert noise < 0.03


def test_signs_are_a_pure_function_of_the_seed_and_extend() -> None:
    signs = ops.hash_signs(40, 9, 64, heads=3, seed=(1, 2))
    assert signs.shape == (3, 3, 6, 64)
    assert signs.dtype == np.int8
    assert set(np.unique(signs)) == {-1, 1}
    assert abs(float(signs.mean())) < 0.05
    np.testing.assert_array_equal(signs, ops.hash_signs(40, 9, 64, heads=3, seed=(1, 2)))
    np.testing.assert_array_equal(signs[:, :, :2], ops.hash_signs(9, 9, 64, heads=3, seed=(1, 2)))
    for other in ((1, 3), (2, 2), 1):
        assert (ops.hash_signs(40, 9, 64, heads=3, seed=other) != signs).mean() > 0.4


def test_signs_never_change_between_versions() -> None:
    """The stream is a promise: saved results must be reproducible."""
    first = ops.hash_signs(7, 8, 8, heads=1, seed=0)[0, :, 0]
    assert "".join("+" if s > 0 else "-" for s in first.reshape(-1)) == "++++--+---++--+++---++++"
    np.testing.assert_allclose(
        gaussian_projection(1, 3, 1, heads=1, seed=0)[0, 0],
        [-1.04466, 0.06752565, 0.3365926],
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.hash_signs(0, 9, 64, heads=1, seed=0), "num_hash: wanted .* at least 1"),
        (lambda: ops.hash_signs(1, 17, 64, heads=1, seed=0), "hash_code_len: wanted .* 1 to 16"),
        (lambda: ops.hash_signs(1, 9, 64, heads=1, seed=-1), "seed: wanted"),
        (
            lambda: ops.fast_hash(draw(0, 1, 2, 8), np.ones((1, 3, 1, 16), np.int8),
                                  num_hash=1, hash_code_len=4),
            r"signs: wanted shape \[1, 3, 1, 8\], got \[1, 3, 1, 16\]",
        ),
        (
            lambda: ops.fast_hash(draw(0, 1, 2, 8), np.zeros((1, 3, 1, 8), np.int8),
                                  num_hash=1, hash_code_len=4),
            "signs: wanted only -1 and 1",
        ),
        (
            lambda: ops.fast_hash([[1.0]], np.ones((1, 3, 1, 8), np.int8),
                                  num_hash=1, hash_code_len=4),
            "x: wanted an array, got list",
        ),
        (
            lambda: ops.lsh_cumulation(np.full((1, 2, 1), 16), np.zeros((1, 2, 1), int),
                                       draw(0, 1, 2, 3), hash_code_len=4),
            r"query_codes: wanted codes from 0 to 15 \(hash_code_len 4\), got 16 to 16",
        ),
        (
            lambda: ops.lsh_cumulation(np.zeros((1, 2, 1)), np.zeros((1, 2, 1), int),
                                       draw(0, 1, 2, 3), hash_code_len=4),
            "query_codes: wanted integer",
        ),
        (
            lambda: ops.lsh_cumulation(np.zeros((1, 2, 3), int), np.zeros((1, 2, 1), int),
                                       draw(0, 1, 2, 3), hash_code_len=4),
            r"key_codes: wanted shape \[1, n, 3\]",
        ),
        (
            lambda: ops.expected_attention(draw(0, 1, 2, 9), draw(0, 1, 2, 9), draw(0, 1, 2, 3),
                                           hash_code_len=4),
            "query: wanted rows of length at most 1",
        ),
        (
            lambda: ops.expected_attention(unit(draw(0, 1, 2, 9)), unit(draw(0, 1, 2, 9)),
                                           draw(0, 1, 2, 3), hash_code_len=4,
                                           key_mask=np.full((1, 2), 2)),
            "key_mask: wanted zeros and ones, got 2",
        ),
        (
            lambda: ops.fast_hash(np.full((1, 2, 8), np.nan), np.ones((1, 3, 1, 8), np.int8),
                                  num_hash=1, hash_code_len=4),
            "x: wanted finite values",  # a comparison would make a code of it
        ),
        (
            lambda: ops.fast_hash(np.full((1, 2, 8), 1e36, "f4"), np.ones((1, 3, 1, 8), np.int8),
                                  num_hash=1, hash_code_len=4),
            r"x: wanted finite values of at most 6.65e\+35",  # 8 * 8 * 8 times more overflow
        ),
        (
            lambda: ops.gaussian_hash(draw(0, 1, 2, 8), np.full((1, 8, 4), np.inf),
                                      num_hash=1, hash_code_len=4),
            "projection: wanted finite values",
        ),
        (
            lambda: ops.lsh_cumulation(np.zeros((1, 2, 1), int), np.zeros((1, 2, 1), int),
                                       np.full((1, 2, 3), 1e300), hash_code_len=4),
            "value: wanted finite values",
        ),
        (
            lambda: ops.lsh_cumulation(memoryview(np.zeros((1, 2, 1), int)),
                                       np.zeros((1, 2, 1), int), draw(0, 1, 2, 3), hash_code_len=4),
            "query_codes: wanted an array, got memoryview",
        ),
        (lambda: ops.hash_signs(1, True, 8, heads=1, seed=0), "hash_code_len: wanted"),
        (lambda: ops.hash_signs(1, 4, 8, heads=1, seed=[[1]]), "seed: wanted"),
        (lambda: ops.hash_signs(1, 4, 8, heads=1, seed={}), "seed: wanted"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_masked_rows_may_hold_anything() -> None:
    x, mask = draw(0, 1, 3, 8), np.array([[1, 0, 1]])
    wild = x.astype(np.float64)
    wild[0, 1] = [np.nan, np.inf, 1e300, 0, 0, 0, 0, 0]
    signs = ops.hash_signs(2, 4, 8, heads=1, seed=0)
    codes = [
        ops.fast_hash(rows, signs, num_hash=2, hash_code_len=4, mask=mask) for rows in (x, wild)
    ]
    np.testing.assert_array_equal(*codes)
    sums = [
        ops.lsh_cumulation(codes[0], codes[0], rows, hash_code_len=4, key_mask=mask)
        for rows in (x, wild)
    ]
    np.testing.assert_array_equal(*sums)


def test_sizes_of_numpys_small_types_do_not_wrap_around() -> None:
    codes = np.full((1, 2, 1), 300)
    value = draw(0, 1, 2, 3)
    got = ops.lsh_cumulation(codes, codes, value, hash_code_len=np.int8(9))
    np.testing.assert_array_equal(got, ops.lsh_cumulation(codes, codes, value, hash_code_len=9))
    sizes = {"heads": 2, "seed": 0}
    got = ops.hash_signs(np.uint8(200), np.int8(9), np.int8(100), **sizes)
    np.testing.assert_array_equal(got, ops.hash_signs(200, 9, 100, **sizes))


@pytest.mark.parametrize(("sizes", "largest"), [((1, 1), 0.01), ((8, 4), 1.0), ((8, 4), 100.0)])
def test_a_product_with_the_projection_stays_a_number(
    sizes: tuple[int, int], largest: float
) -> None:
    """Of `dim` products each may be as large as float32 holds, and no larger."""
    dim, code_len = sizes
    projection = np.full((1, dim, code_len), largest, np.float32)
    limit = float(np.finfo(np.float32).max) / max(1.0, largest * dim)
    codes = {"num_hash": 1, "hash_code_len": code_len}
    below = ops.gaussian_hash(np.full((1, 1, dim), 0.999 * limit, "f4"), projection, **codes)
    assert below.tolist() == [[[2**code_len - 1]]]
    if limit < 3e38:
        above = np.full((1, 1, dim), 1.001 * limit, np.float32)
    else:
        above = np.full((1, 1, dim), 2 * limit)
    with pytest.raises(InputError, match="x: wanted finite values of at most"):
        ops.gaussian_hash(above, projection, **codes)
