"""The bytes of results: each form's records, read back, and torn."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yosort import InputError
from yosort.cli import tables, writing
from yosort.cli.writing import Csv, JsonLines, Npy, Records, check_kept, open_alone, open_new
from yosort.tasks.stream import Failure

FAILED = Failure(3, InputError("wanted a text, got None"))
ONE = [{"label": "a", "score": 0.5}]
KEPT = {"id": 7}


@pytest.mark.parametrize(
    ("form", "result", "kept", "wanted"),
    [
        (JsonLines(), ONE, {}, '[{"label": "a", "score": 0.5}]'),
        (JsonLines(), "é\u2028\u2029\u0085\ud800", {}, r'"é\u2028\u2029\u0085\ud800"'),
        (JsonLines(), FAILED, {}, '{"index": 3, "error": "wanted a text, got None"}'),
        (JsonLines(("id",)), ONE, KEPT, '{"id": 7, "result": [{"label": "a", "score": 0.5}]}'),
        (JsonLines(("id",), flat=True), ONE, KEPT, '{"id": 7, "label": "a", "score": 0.5}'),
        (JsonLines(("id",), flat=True), ONE * 2, KEPT,
         '{"id": 7, "result": [{"label": "a", "score": 0.5}, {"label": "a", "score": 0.5}]}'),
        (JsonLines(("id",), flat=True), [0.5], KEPT, '{"id": 7, "result": [0.5]}'),
        (JsonLines(("id",)), ONE[0], KEPT, '{"id": 7, "label": "a", "score": 0.5}'),
        (JsonLines(("id",)), FAILED, KEPT,
         '{"id": 7, "index": 3, "error": "wanted a text, got None"}'),
        (Csv(("label", "score"), ()), ONE, {}, "a,0.5,,"),
        (Csv(("label", "score"), ()), [{**ONE[0], "truncated": True}], {}, "a,0.5,True,"),
        (Csv(("label", "score"), ()), FAILED, {}, ',,,"wanted a text, got None"'),
        (Csv(("label",), ("id", "x")), ONE, {"id": [1, "é"], "x": None}, '"[1, ""é""]",,a,,'),
        (Csv(("label",), ("id",)), FAILED, {"id": True}, 'true,,,"wanted a text, got None"'),
        (Csv(("label",), ("id",)), ONE[0], {}, ",a,,"),
        (Csv(("label",), ()), [{"label": 'a\r"b"\n\ud800'}], {}, '"a\r""b""\n\\ud800",,'),
    ],
)  # fmt: skip
def test_a_record(form: Any, result: Any, kept: dict[str, Any], wanted: str) -> None:
    assert form.encode(result, kept) == f"{wanted}\n".encode()


def test_what_no_record_can_be() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        JsonLines().encode([float("nan")], {})
    for count, result in ((2, ONE * 2), (0, []), (1, [0.5])):
        with pytest.raises(InputError, match=f"got {count} answers, a .csv has a row; use .jsonl"):
            Csv(("label",), ()).encode(result, {})
    for name in ("index", "truncated", "error"):
        with pytest.raises(InputError, match=f"--keep: wanted other names .* got '{name}'; NAME="):
            JsonLines(("id", name))
    for name in ("label", "truncated", "error"):
        with pytest.raises(InputError, match=f"got '{name}'"):
            Csv(("label",), ("id", name))
    with pytest.raises(InputError, match="got 'label'"):
        JsonLines(("label",), flat=True).encode(ONE, {"label": 1})
    check_kept(("id",), ("label",))


def test_headers_and_what_records_say() -> None:
    assert JsonLines().header == b""
    assert Csv(("label", "score"), ("id",)).header == b"id,label,score,truncated,error\n"
    assert JsonLines().decode(b'[{"a": 0.5}]\n') == [{"a": 0.5}]
    assert Csv(("a",), ()).decode(b'7,0.5,x,"y\nz",,1e3\n') == [7, 0.5, "x", "y\nz", "", 1000.0]
    with pytest.raises(ValueError, match="Expecting"):
        JsonLines().decode(b"[\n")


@pytest.mark.parametrize(
    ("form", "data", "wanted"),
    [
        (JsonLines(), b"", [b""]), (JsonLines(), b"1\n", [b"1\n", b""]),
        (JsonLines(), b"1\n2\n3", [b"1\n", b"2\n", b"3"]),
        (Csv(("a",), ()), b"", [b""]), (Csv(("a",), ()), b"1\n2", [b"1\n", b"2"]),
        (Csv(("a",), ()), b'"1\n2"\n3\n', [b'"1\n2"\n', b"3\n", b""]),
        (Csv(("a",), ()), b'"1\n2', [b'"1\n2']),
        (Csv(("a",), ()), b'"a""\n"\n', [b'"a""\n"\n', b""]),
        (Csv(("a",), ()), b'"1"', [b'"1"']),
    ],
)  # fmt: skip
def test_whole_records_and_what_is_torn(form: Any, data: bytes, wanted: list[bytes]) -> None:
    assert list(form.records(io.BytesIO(data))) == wanted


def test_a_quote_that_never_closes_is_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LONGEST", 6)
    found = list(Csv(("a",), ()).records(io.BytesIO(b'1\n"345\n7\n9\n' + b"x\n" * 50)))
    assert found == [b"1\n", b'"345\n7\n']


class Trickle(io.RawIOBase):
    """Takes three bytes at a time, as a full pipe may."""

    def __init__(self) -> None:
        self.data, self.flushed = b"", 0

    def write(self, data: Any) -> int:
        self.data += bytes(data[:3])
        return min(3, len(data))

    def flush(self) -> None:
        self.flushed += 1


def test_records_are_whole_when_written_and_a_header_comes_with_the_first() -> None:
    file = Trickle()
    records = Records(JsonLines(), None, file)
    records.write("a text", {})
    assert (file.data, file.flushed) == (b'"a text"\n', 1)
    records.close(complete=False)
    assert file.flushed == 2


def test_a_file_is_made_with_its_first_result_or_by_a_whole_run(tmp_path: Path) -> None:
    form, path = Csv(("label",), ()), tmp_path / "a.csv"
    Records(form, path).close(complete=False)
    assert not path.exists()
    Records(form, path).close(complete=True)
    assert path.read_bytes() == form.header
    path.unlink()
    records = Records(form, path)
    assert not path.exists()
    for _ in range(2):
        records.write(ONE, {})
    assert path.read_bytes() == form.header + b"a,,\n" * 2
    records.close(complete=True)
    with pytest.raises(InputError, match=r"a\.csv: exists already; --resume continues it"):
        open_new(path)
    assert path.read_bytes() == form.header + b"a,,\n" * 2
    if writing.fcntl is not None:
        with open_alone(path), pytest.raises(InputError, match="another run is writing it"):
            open_alone(path)
    with pytest.raises(InputError, match="cannot be written: No such file"):
        open_new(tmp_path / "no" / "a.csv")


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_file_is_made_as_other_programs_make_theirs(tmp_path: Path) -> None:
    for mask in (0o022, 0o077, 0o000):
        before = os.umask(mask)
        try:
            open_new(tmp_path / f"{mask}.jsonl").close()
        finally:
            os.umask(before)
        made = (tmp_path / f"{mask}.jsonl").stat().st_mode
        assert stat.S_IMODE(made) == 0o666 & ~mask


def test_an_array_loads_at_any_moment_and_its_header_tells_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    writer = Npy(2, path)
    counts = []
    for number in range(600):
        writer.write(FAILED if number == 5 else [number, 0.5], {})
        counts.append(len(np.load(path)))
    assert counts == [1] * 256 + [257] * 256 + [513] * 88
    writer.close(complete=False)
    array = np.load(path)
    assert (array.shape, array.dtype) == ((600, 2), np.float32)
    assert np.isnan(array[5]).all()
    np.testing.assert_array_equal(np.delete(array, 5, 0)[:, 0], np.delete(np.arange(600), 5))
    assert path.stat().st_size == Npy.HEADER + 600 * 8
    assert json.dumps(array[0].tolist()) == "[0.0, 0.5]"
    Npy(3, tmp_path / "b.npy").close(complete=False)
    assert not (tmp_path / "b.npy").exists()
    Npy(3, tmp_path / "b.npy").close(complete=True)
    assert np.load(tmp_path / "b.npy").shape == (0, 3)
