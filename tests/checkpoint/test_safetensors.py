"""safetensors files: exact values, views of the file, and every way a header can lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_builders import entry, safetensors_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from yosort.checkpoint import State, read_state, write_state
from yosort.checkpoint.safetensors import read_safetensors, write_safetensors
from yosort.checkpoint.stored import BITS, Tensor
from yosort.errors import CheckpointError

DTYPES = ["f4", "f2", "i8", "i4", "i2", "i1", "u1", "?"]
ARRAYS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "__metadata__"),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
    ),
    max_size=5,
)


def encodable(name: str) -> bool:
    return not any(0xD800 <= ord(char) < 0xE000 for char in name)


@settings(deadline=None)
@given(arrays=ARRAYS.filter(lambda d: all(map(encodable, d))))
def test_agrees_with_the_reference_both_ways(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    folder = tmp_path_factory.mktemp("st")
    save_file(arrays, folder / "theirs.safetensors")
    write_safetensors(folder / "ours.safetensors", arrays)
    for values in (
        read_safetensors(folder / "theirs.safetensors"),
        read_safetensors(folder / "ours.safetensors"),
        load_file(folder / "ours.safetensors"),
    ):
        assert set(values) == set(arrays)
        for name, array in arrays.items():
            assert values[name].dtype == array.dtype
            assert values[name].shape == array.shape
            assert values[name].tobytes() == array.tobytes()


def test_views_of_the_file(tmp_path: Path) -> None:
    save_file({"a": np.arange(12, dtype="f4").reshape(3, 4)}, tmp_path / "model.safetensors")
    array = read_state(tmp_path)["a"]
    base: object = array
    while not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
        assert base is not None, "the array does not lead back to the mapped file"
    assert not array.flags.writeable
    assert array.flags.aligned


def test_wide_dtypes_are_converted(tmp_path: Path) -> None:
    bf16 = np.array([0x3F80, 0xC000, 0x7F80, 0x0001], "<u2")
    f64 = np.array([1.0, 1e300, np.pi])
    header = {"b": entry("BF16", [2, 2], 0, 8), "d": entry("F64", [3], 8, 32)}
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes(header, bf16.tobytes() + f64.tobytes()))
    state = read_state(path)
    assert state["b"].dtype == np.float32
    assert state["b"].tolist() == [[1.0, -2.0], [np.inf, 2.0**-133]]
    assert state["d"].dtype == np.float32
    assert state["d"].tolist() == [1.0, np.inf, np.float32(np.pi)]
    assert state.tensor("b").bits.tobytes() == bf16.tobytes()


def test_unaligned_data_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for pad in range(4):
        header = json.dumps({"a": entry("F32", [3], 0, 12)}).encode() + b" " * pad
        path.write_bytes(safetensors_bytes(header, np.arange(3, dtype="f4").tobytes()))
        array = read_state(path)["a"]
        assert array.flags.aligned
        assert array.tolist() == [0, 1, 2]


def test_writer_keeps_bf16_strides_and_metadata(tmp_path: Path) -> None:
    array = np.arange(12, dtype="f4").reshape(3, 4)
    bits = np.array([0x3F80, 0x4000], "<u2")
    state = State({"t": Tensor.of(array.T), "b": Tensor("BF16", bits), "big": Tensor.of(array)})
    write_state(tmp_path, state)
    raw = (tmp_path / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    assert header["__metadata__"] == {"format": "pt"}
    assert header["b"]["dtype"] == "BF16"
    assert length % 8 == 0
    again = read_state(tmp_path)
    np.testing.assert_array_equal(again["t"], array.T)
    assert again["b"].tolist() == [1.0, 2.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_writer_takes_any_byte_order(tmp_path: Path) -> None:
    write_state(tmp_path, {"a": np.arange(3, dtype=">f4")})
    assert read_state(tmp_path)["a"].tolist() == [0, 1, 2]


def test_writer_refuses_other_dtypes(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'c': wanted one of the dtypes .* got complex64"):
        write_state(tmp_path, {"c": np.zeros(2, np.complex64)})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_state(tmp_path, {"a": np.ones(3, "f4")})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yosort.checkpoint.safetensors._write_bits", full)
    with pytest.raises(CheckpointError, match=r"cannot be written.*No space left"):
        write_state(tmp_path, {"a": np.zeros(3, "f4")})
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert read_state(tmp_path)["a"].tolist() == [1, 1, 1]


GOOD = {"a": entry("F32", [2], 0, 8)}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty file"),
        (b"\0\0\0", "8 bytes of header length"),
        (safetensors_bytes(GOOD, bytes(8), length=1 << 62), "got a length of"),
        (safetensors_bytes(GOOD, bytes(8), length=1 << 20), "truncated"),
        (safetensors_bytes(b"[]"), "starts with"),
        (safetensors_bytes(b" {}"), "starts with"),
        (safetensors_bytes(b""), "starts with"),
        (safetensors_bytes(b"{"), "valid JSON"),
        (safetensors_bytes(b'{"a":' * 100_000), "valid JSON"),
        (safetensors_bytes(b'{"\xff":1}'), "valid JSON"),
        (safetensors_bytes(b'{"a":%s}' % (b"9" * 5000)), "valid JSON|wanted dtype"),
        (safetensors_bytes(b'{"a":1,"a":2}'), "'a' is given twice"),
        (safetensors_bytes({"a": 1}), "wanted dtype, shape and data_offsets, got 'int'"),
        (safetensors_bytes({"a": {"dtype": "F32"}}), "wanted dtype, shape"),
        (safetensors_bytes({"a": entry("F8_E4M3", [8], 0, 8)}, bytes(8)), "got 'F8_E4M3'"),
        (safetensors_bytes({"a": entry(None, [2], 0, 8)}, bytes(8)), "got None"),  # type: ignore
        (safetensors_bytes({"a": entry("F32", [-2], 0, 8)}, bytes(8)), "shape"),
        (safetensors_bytes({"a": entry("F32", [2.0], 0, 8)}, bytes(8)), "shape"),
        (safetensors_bytes({"a": entry("F32", [True, 2], 0, 8)}, bytes(8)), "shape"),
        (safetensors_bytes({"a": entry("F32", [1] * 33, 0, 4)}, bytes(4)), "at most 32 sizes"),
        (safetensors_bytes({"a": entry("F32", [1 << 62, 0, 1 << 62], 0, 0)}), "can hold"),
        (safetensors_bytes({"a": entry("F32", [1 << 40], 0, 8)}, bytes(8)), "wanted 4398046511104"),
        (safetensors_bytes({"a": entry("F32", [3], 0, 8)}, bytes(8)), "wanted 12 bytes"),
        (safetensors_bytes({"a": entry("F32", [2], 0, 9)}, bytes(8)), "data_offsets within"),
        (safetensors_bytes({"a": entry("F32", [2], 8, 0)}, bytes(8)), "data_offsets within"),
        (safetensors_bytes({"a": entry("F32", [2], 0, 1 << 80)}, bytes(8)), "data_offsets within"),
        (safetensors_bytes({"a": entry("F32", [2], 4, 12)}, bytes(12)), "start at 0"),
        (
            safetensors_bytes({**GOOD, "b": entry("F32", [2], 4, 12)}, bytes(12)),
            "start at 8, where",
        ),
        (safetensors_bytes({**GOOD, "b": entry("F32", [2], 0, 8)}, bytes(8)), "start at 8, where"),
        (safetensors_bytes(GOOD, bytes(9)), "wanted 8 bytes of data"),
        (safetensors_bytes({**GOOD, "__metadata__": {"a": 1}}, bytes(8)), "object of strings"),
    ],
)
def test_hostile_headers(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=match) as caught:
        read_state(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="regular file"):
        read_state(tmp_path)


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    header = {"a": entry("F32", [2, 2], 0, 16), "b": entry("BF16", [4], 16, 24)}
    content = bytearray(safetensors_bytes(header, bytes(range(24))))
    for _ in range(data.draw(st.integers(0, 4), "edits")):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] or content)
    try:
        state = read_state(path)
    except CheckpointError as error:
        message = str(error)
    else:
        message = f"{path}"
        theirs = load_file(path) if all(state.tensor(k).dtype == "F32" for k in state) else {}
        assert all(state[name].tobytes() == array.tobytes() for name, array in theirs.items())
    assert str(path) in message


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_casts_round_to_nearest_even(dtype: str) -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -3.1415927, 1e-9, np.nan, np.inf, 0.0], "f4")
    cast = Tensor.of(values).cast(dtype, name="w")
    assert cast.bits.dtype == BITS[dtype]
    if dtype == "F16":
        wanted = values.astype("f2").astype("f4")
    else:
        # Halfway cases go to the even neighbour: 1 + 2^-8 down, 1 + 3 * 2^-8 up.
        wanted = np.array([1.0, 1.0, 1.015625, -3.140625, 9.968062e-10, np.nan, np.inf, 0.0], "f4")
    np.testing.assert_allclose(cast.array().astype("f4"), wanted, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "value"), [("F16", 7e4), ("BF16", 3.4e38), ("F16", -1e38)])
def test_casts_refuse_overflow(dtype: str, value: float) -> None:
    with pytest.raises(CheckpointError, match=rf"'w': wanted values within the range of {dtype}"):
        Tensor.of(np.array([1.0, value], "f4")).cast(dtype, name="w")


def test_casts_leave_integers_and_nan() -> None:
    integers = Tensor.of(np.arange(3))
    assert integers.cast("F16", name="i") is integers
    # A NaN whose payload is only in the low bits must not become infinity.
    nan = np.array([0x7F800001, 0xFFFFFFFF], "u4").view("f4")
    assert np.isnan(Tensor.of(nan).cast("BF16", name="n").array()).all()


@pytest.mark.parametrize(("axes", "good"), [(32, True), (33, False)])
def test_as_many_axes_as_any_numpy_takes(axes: int, good: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes({"a": entry("F32", [1] * axes, 0, 4)}, b"\0\0\x80?"))
    if good:
        assert read_state(path)["a"].shape == (1,) * axes
        assert read_state(path)["a"].item() == 1.0
    else:
        with pytest.raises(CheckpointError, match="wanted a shape of at most 32 sizes"):
            read_state(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0" * 7, "wanted 8 bytes of header length, got 7 bytes"),
        (b"\0" * 8, "wanted a header that starts with '{'"),
        (b"\2" + b"\0" * 7 + b"{", "within the 9 bytes of the file"),
    ],
)
def test_files_that_end_in_their_header(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_state(tmp_path)


@pytest.mark.parametrize(
    "offsets", [[0, 4, 8], [0], [], [-4, 0], [0.0, 4.0], [4, 0], [8, 12], "04", None, {"0": 4}]
)
def test_places_that_no_tensor_has(offsets: Any, tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes(header, b"\0" * 8))
    with pytest.raises(CheckpointError, match="'a': wanted data_offsets within the 8 bytes"):
        read_state(path)


@pytest.mark.parametrize("letters", range(1, 9))
def test_values_begin_at_a_multiple_of_eight_bytes(letters: int, tmp_path: Path) -> None:
    write_state(tmp_path, {"x" * letters: np.arange(3, dtype="f4")})
    raw = (tmp_path / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    assert length % 8 == 0
    assert raw[8 + length :] == np.arange(3, dtype="<f4").tobytes()
