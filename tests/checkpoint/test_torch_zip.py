"""pytorch_model.bin without torch: what torch wrote, and what must be refused."""

from __future__ import annotations

import contextlib
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from checkpoint_builders import Global, StorageRef, dumps, tensor, write_torch, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from yosort.checkpoint import read_state
from yosort.checkpoint.unpickle import GLOBALS, MAX_PICKLE_BYTES, loads
from yosort.errors import CheckpointError

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.bin") if path.stem != "legacy")
FLOATS = StorageRef("torch.FloatStorage", "0", 6)
SIX = {"0": np.arange(6, dtype="f4").tobytes()}


@pytest.mark.parametrize("name", NAMES)
def test_reads_what_torch_wrote(golden: Path, name: str) -> None:
    with np.load(golden / "values.npz") as values:
        wanted = {k.split("/", 1)[1]: values[k] for k in values if k.startswith(f"{name}/")}
    state = read_state(golden / f"{name}.bin")
    assert set(state) == set(wanted)
    for key, array in wanted.items():
        assert state[key].dtype == array.dtype, key
        assert state.shape(key) == array.shape, key
        np.testing.assert_array_equal(state[key], array, err_msg=key)


def test_arrays_are_read_only_views_of_the_file(golden: Path) -> None:
    state = read_state(golden / "strided.bin")
    base: object = state["whole"]
    while not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
        assert base is not None, "the array does not lead back to the mapped file"
    assert not state["whole"].flags.writeable
    assert np.shares_memory(state["whole"], state["transposed"])


def test_ties_share_their_storage(golden: Path) -> None:
    state = read_state(golden / "tied.bin")
    assert np.shares_memory(state["words"], state["decoder"])


def test_old_layout_says_how_to_save_anew(golden: Path) -> None:
    with pytest.raises(CheckpointError, match=r"legacy\.bin: wanted a zip file.*torch\.save"):
        read_state(golden / "legacy.bin")


@pytest.mark.parametrize("wrap", [None, "model_state_dict", "state_dict"])
def test_nested_state_dicts(tmp_path: Path, wrap: str | None) -> None:
    arrays = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.arange(3)}
    state = read_state(write_torch(tmp_path / "x.bin", arrays, wrap))
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name], array)


def test_attributes_of_an_ordered_dict_are_ignored(tmp_path: Path) -> None:
    # torch sets `_metadata` so; another pickle might try to set anything.
    new = b"ccollections\nOrderedDict\n)R"
    item = dumps("a")[2:-1] + dumps(tensor(FLOATS, (6,), (1,)))[2:-1]
    attributes = dumps({"_metadata": Global("collections.OrderedDict"), "__class__": None})[2:-1]
    content = b"\x80\x02" + new + b"(" + item + b"u" + attributes + b"b."
    state = read_state(write_zip(tmp_path / "x.bin", content, SIX))
    np.testing.assert_array_equal(state["a"], np.arange(6, dtype="f4"))


HOSTILE_GLOBALS = [
    "os.system",
    "posix.system",
    "builtins.eval",
    "__builtin__.getattr",
    "builtins.exec",
    "torch.load",
    "torch._utils._rebuild_tensor",
    "torch._utils.os.system",
    "torch._utils._rebuild_parameter_with_state",
    "torch.FloatStorage.from_file",
    "collections.OrderedDict.fromkeys",
    "collections.defaultdict",
    "_codecs.encode",
    "numpy.core.multiarray._reconstruct",
]


@pytest.mark.parametrize("name", HOSTILE_GLOBALS)
@pytest.mark.parametrize("place", ["top", "value", "key", "nested", "argument"])
def test_refuses_every_other_global(tmp_path: Path, name: str, place: str) -> None:
    marker = tmp_path / "ran"
    attack = Global(name, f"touch {marker}")
    content = {
        "top": attack,
        "value": {"a": attack},
        "key": {"a": tensor(FLOATS, (6,), (1,)), "state": [{"x": (attack,)}]},
        "nested": {"model_state_dict": {"a": [[attack]]}},
        "argument": {"a": Global("torch._utils._rebuild_tensor_v2", attack)},
    }[place]
    path = write_zip(tmp_path / "x.bin", dumps(content), SIX)
    with pytest.raises(CheckpointError, match="refused: its pickle names") as caught:
        read_state(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()


def test_refuses_globals_of_newer_opcodes() -> None:
    names = b"\x8c\x02os\x8c\x06system\x93"
    with pytest.raises(CheckpointError, match=r"names 'os\.system'"):
        loads(b"\x80\x04" + names + b".")
    # "torch._utils" + "_rebuild_tensor_v2" must not be reachable by another split of the dots.
    with pytest.raises(CheckpointError, match="refused"):
        loads(b"\x80\x02ctorch\n_utils._rebuild_tensor_v2\n.")


def test_allowed_globals_are_exactly_these() -> None:
    storages = ("Float", "Half", "BFloat16", "Double")
    integers = ("Long", "Int", "Short", "Char", "Byte", "Bool")
    assert set(GLOBALS) == {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        *(f"torch.{name}Storage" for name in storages + integers),
    }


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("empty", b"", "protocol 2"),
        ("text protocol", b"(lp0\n.", "protocol 2"),
        ("protocol 1", b"\x80\x01}.", "protocol 2 to 5, got 1"),
        ("protocol 6", b"\x80\x06}.", "protocol 2 to 5, got 6"),
        ("only a mark", b"\x80\x02(.", "empty stack"),
        ("nothing left", b"\x80\x02.", "got 0"),
        ("no end", b"\x80\x02}", "ends in the middle"),
        ("8 exabytes of text", b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f", "ends in the middle"),
        ("8 exabytes of bytes", b"\x80\x04\x8e" + b"\xff" * 8 + b".", "opcode 0x8e"),
        ("huge frame", b"\x80\x04\x95" + b"\xff" * 8 + b".", "inside a frame"),
        ("frame of a byte more", b"\x80\x04\x95\x03" + b"\0" * 7 + b"}.", "frame of 3 bytes"),
        ("huge memo index", b"\x80\x02}r\xff\xff\xff\xff0.", "opcode 0x30"),
        ("unknown memo", b"\x80\x02h\x05.", "did not name"),
        ("huge integer", b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".", "at most 64 bits"),
        ("72 bits", b"\x80\x02\x8a\x09" + b"\x7f" * 9 + b".", "at most 64 bits, got 72"),
        ("new object", b"\x80\x02ccollections\nOrderedDict\n)\x81.", "opcode 0x81"),
        ("instance", b"\x80\x02(ios\nsystem\n.", "opcode 0x69"),
        ("extension code", b"\x80\x02\x82\x01.", "opcode 0x82"),
        ("text of bad UTF-8", b"\x80\x02X\x02\0\0\0\xff\xfe.", "UTF-8"),
        ("tuple as a key", b"\x80\x02})Ns.", "keys that are scalars"),
        ("call of a class", b"\x80\x02ctorch\nFloatStorage\n)R.", "REDUCE"),
        ("call of data", b"\x80\x02})R.", "REDUCE"),
        ("build on a list", b"\x80\x02]}b.", "BUILD"),
        ("append to a dict", b"\x80\x02}Na.", "APPEND"),
        ("odd items", b"\x80\x02}(Nu.", "without a value"),
        ("bad reference", b"\x80\x02NQ.", "reference to a storage"),
        ("name without end", b"\x80\x02cos", "middle of a name"),
        ("items for nobody", b"\x80\x02u.", "did not open"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_hostile_pickles(name: str, content: bytes, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        loads(content)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_of_each_protocol(protocol: int) -> None:
    for value in ({"a": [-(2**63), 2**63 - 1, 2**31, -1]}, "é" * 300, (True, None, 0.5), ()):
        assert loads(pickle.dumps(value, protocol)) == value


def test_deep_nesting_and_cycles_are_only_data() -> None:
    deep = loads(b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".")
    while deep:  # freed step by step: the interpreter's own way down is not what is tested
        deep = deep[0]
    cycle = loads(b"\x80\x02]q\x00h\x00a.")
    assert cycle[0] is cycle
    cycle.clear()


def test_deep_tuples_do_not_end_the_process() -> None:
    assert isinstance(loads(b"\x80\x02)" + b"\x85" * 300_000 + b"."), tuple)


def test_exponential_structures_are_never_walked(tmp_path: Path) -> None:
    content = b"\x80\x02]" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(200)) + b"."
    with pytest.raises(CheckpointError, match="wanted a dict of tensors, got tuple"):
        read_state(write_zip(tmp_path / "x.bin", content))


def test_one_long_tuple_in_many_calls_is_quick() -> None:
    many = b"(" + b"K\x01" * 500_000 + b"tq\x01"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(h\x02K\x00h\x01h\x01NNtR"
    reference = dumps(FLOATS)[2:-1] + b"q\x02"
    with pytest.raises(CheckpointError, match="at most 32 sizes"):
        loads(b"\x80\x02" + many + reference + call * 1000 + b".")


def test_pickle_over_the_limit(tmp_path: Path) -> None:
    letters = MAX_PICKLE_BYTES - 8
    most = b"\x80\x02X" + struct.pack("<I", letters) + b"a" * letters + b"."
    assert len(most) == MAX_PICKLE_BYTES
    assert loads(most) == "a" * letters
    path = write_zip(tmp_path / "x.bin", most + b".")
    with pytest.raises(CheckpointError, match=r"data\.pkl: wanted at most"):
        read_state(path)


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "match"),
    [
        ((7,), (1,), 0, "at most the 6 elements"),
        ((6,), (1,), 1, "within the 6"),
        ((2, 2), (5, 1), 0, "got one at 6"),
        ((1 << 40,), (0,), 0, "at most the 6 elements"),
        ((0, 1 << 62, 1 << 62), (1, 1, 1), 0, "at most the 6 elements"),
        ((2,), (1 << 62,), 0, "within the 6"),
        ((2,), (-1,), 5, "non-negative"),
        ((-1,), (1,), 0, "non-negative"),
        ((2,), (1,), -1, "non-negative"),
        ((2,), (1, 1), 0, "as many strides"),
        ((1 << 70,), (1,), 0, "64 bits"),
        ((True,), (1,), 0, "non-negative"),
        ((1,) * 33, (1,) * 33, 0, "at most 32"),
    ],
)
def test_extents_are_checked(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, match: str
) -> None:
    content = dumps({"w": tensor(FLOATS, shape, strides, offset)})
    with pytest.raises(CheckpointError, match=match):
        read_state(write_zip(tmp_path / "x.bin", content, SIX))


def test_harmless_extents(tmp_path: Path) -> None:
    content = {
        "one": tensor(FLOATS, (1, 1), (1 << 62, 7), 5),
        "none": tensor(FLOATS, (0, 3), (3, 1), 99),
        "overlapping": tensor(FLOATS, (2, 3), (1, 1)),
        "scalar": tensor(FLOATS, (), (), 3),
    }
    state = read_state(write_zip(tmp_path / "x.bin", dumps(content), SIX))
    assert state["one"].tolist() == [[5.0]]
    assert state["none"].shape == (0, 3)
    assert state["overlapping"].tolist() == [[0, 1, 2], [1, 2, 3]]
    assert state["scalar"] == 3.0


def test_storages_are_checked(tmp_path: Path) -> None:
    def read(reference: StorageRef, storages: dict[str, bytes]) -> None:
        content = dumps({"w": tensor(reference, (1,), (1,))})
        read_state(write_zip(tmp_path / "x.bin", content, storages))

    with pytest.raises(CheckpointError, match=r"storage '0': wanted 2\d* bytes.*got 24"):
        read(StorageRef("torch.FloatStorage", "0", 1 << 59), SIX)
    with pytest.raises(CheckpointError, match=r"'data/\.\./\.\./x': wanted by the pickle"):
        read(StorageRef("torch.FloatStorage", "../../x", 6), SIX)
    with pytest.raises(CheckpointError, match=r"storage '0': wanted \d+ bytes.*got 24"):
        read(StorageRef("torch.FloatStorage", "0", (1 << 63) - 1), SIX)
    with pytest.raises(CheckpointError, match="reference to a storage"):
        read(StorageRef("torch.FloatStorage", "0", -1), SIX)
    with pytest.raises(CheckpointError, match="reference to a storage"):
        read(StorageRef("torch.FloatStorage", 0, 6), SIX)
    with pytest.raises(CheckpointError, match="ComplexFloatStorage"):
        read(StorageRef("torch.ComplexFloatStorage", "0", 3), SIX)


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    content = dumps({"w": tensor(StorageRef("torch.FloatStorage", "0", 1 << 20), (1,), (1,))})
    bomb = {"0": bytes(4 << 20)}
    path = write_zip(tmp_path / "x.bin", content, bomb, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="wanted it stored as torch does"):
        read_state(path)


def test_archive_faults(tmp_path: Path) -> None:
    content = dumps({"w": tensor(FLOATS, (6,), (1,))})
    big = write_zip(tmp_path / "big.bin", content, SIX, extra={"archive/byteorder": b"big"})
    with pytest.raises(CheckpointError, match="little-endian"):
        read_state(big)
    little = write_zip(tmp_path / "le.bin", content, SIX, extra={"archive/byteorder": b"little"})
    assert read_state(little)["w"].size == 6
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = write_zip(tmp_path / "2.bin", content, SIX, extra={"archive/data/0": bytes(24)})
    with pytest.raises(CheckpointError, match="twice"):
        read_state(twice)
    other = tmp_path / "other.bin"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("readme", "no weights")
    with pytest.raises(CheckpointError, match=r"NAME/data\.pkl.*'readme'"):
        read_state(other)
    with pytest.raises(CheckpointError, match="wanted a dict of tensors, or one under"):
        read_state(write_zip(tmp_path / "x.bin", dumps({"epoch": 3})))
    with pytest.raises(CheckpointError, match="'n': wanted a tensor by its name, got int"):
        read_state(
            write_zip(tmp_path / "y.bin", dumps({"w": tensor(FLOATS, (6,), (1,)), "n": 1}), SIX)
        )


def test_tensors_of_negative_storages_are_refused(tmp_path: Path) -> None:
    args = (FLOATS, 0, (6,), (1,), False, None, {"neg": True})
    content = dumps({"w": Global("torch._utils._rebuild_tensor_v2", *args)})
    with pytest.raises(CheckpointError, match="without metadata"):
        read_state(write_zip(tmp_path / "x.bin", content, SIX))


def test_unaligned_storages_are_copied(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.bin", dumps({"w": tensor(FLOATS, (6,), (1,))}), SIX)
    for shift in range(4):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", dumps({"w": tensor(FLOATS, (6,), (1,))}))
            file.writestr("archive/" + "x" * shift, b"")
            file.writestr("archive/data/0", SIX["0"])
        array = read_state(path)["w"]
        assert array.flags.aligned
        np.testing.assert_array_equal(array, np.arange(6))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([*NAMES, "legacy"]), st.data())
def test_damaged_files(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray((GOLDEN / f"{name}.bin").read_bytes())
    if data.draw(st.booleans(), "truncate"):
        del content[data.draw(st.integers(0, len(content)), "at") :]
    for _ in range(data.draw(st.integers(0, 4), "flips")):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(content)
    try:
        state = read_state(path)
    except CheckpointError as error:
        message = str(error)
    else:
        message = f"{path}"
        assert all(state[key].nbytes <= 2 * len(content) for key in state)
    assert str(path) in message


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(NAMES), st.data())
def test_damaged_pickles(name: str, data: st.DataObject) -> None:
    with zipfile.ZipFile(GOLDEN / f"{name}.bin") as file:
        content = bytearray(file.read(next(n for n in file.namelist() if n.endswith("data.pkl"))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(CheckpointError):
        loads(bytes(content))


@settings(deadline=None, max_examples=500)
@given(
    st.lists(
        st.integers(0, 255).map(lambda code: bytes([code])) | st.binary(max_size=6), max_size=40
    )
)
def test_any_bytes(parts: list[bytes]) -> None:
    with contextlib.suppress(CheckpointError):
        loads(b"\x80\x04" + b"".join(parts) + b".")
