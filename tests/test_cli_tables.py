"""Records of tables from numbered lines: cells, what is wrong, and the lines they are."""

from __future__ import annotations

from typing import Any

import pytest

from yosort import InputError
from yosort.cli import tables
from yosort.cli.tables import check_delimiter, records

BAD = InputError("line 2 is no UTF-8")
OPEN = "wanted a quote that closes, got one that never does"


def read(*lines: str | InputError, delimiter: str = ",") -> list[tuple[int, Any, str]]:
    """Return line, cells or message, and text of each record."""
    found = records(iter(enumerate(lines, 1)), delimiter)
    return [
        (r.line, str(r.cells) if isinstance(r.cells, InputError) else r.cells, r.text)
        for r in found
    ]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], []),
        (["a,b\n", "1,2\r\n", "3"], [(1, ["a", "b"], "a,b\n"), (2, ["1", "2"], "1,2\r\n"),
                                    (3, ["3"], "3")]),
        (["\n", "a\n"], [(1, [], "\n"), (2, ["a"], "a\n")]),
        (['"a\n', 'b",c\n', "d\n"], [(1, ["a\nb", "c"], '"a\nb",c\n'), (3, ["d"], "d\n")]),
        (['"a""b",c\n'], [(1, ['a"b', "c"], '"a""b",c\n')]),
        # What does not close costs its own line: those behind it are read anew.
        (['"a\n', "b\n", "c\n"], [(1, OPEN, '"a\n'), (2, ["b"], "b\n"), (3, ["c"], "c\n")]),
        (['"a"b\n', "c\n"], [(1, "not CSV: ',' expected after '\"'", '"a"b\n'), (2, ["c"], "c\n")]),
        (["a\0b\n", "c\n"], [(1, "wanted text, got a NUL byte", "a\0b\n"), (2, ["c"], "c\n")]),
        (["a\n", BAD, "c\n"], [(1, ["a"], "a\n"), (2, str(BAD), ""), (3, ["c"], "c\n")]),
        # Within a cell of several lines: the line that it begins with, then the line itself.
        (['"a\n', BAD, 'c"\n'], [(1, str(BAD), '"a\n'), (2, str(BAD), ""),
                                 (3, ['c"'], 'c"\n')]),
        (['"a\n', "\0\n", '"\n', "d\n"], [(1, "wanted text, got a NUL byte", '"a\n'),
                                          (2, "wanted text, got a NUL byte", "\0\n"),
                                          (3, OPEN, '"\n'), (4, ["d"], "d\n")]),
    ],
)  # fmt: skip
def test_a_record_is_its_lines(lines: list[Any], wanted: list[Any]) -> None:
    assert read(*lines) == wanted


def test_a_record_that_is_too_long_is_refused_and_the_next_one_counts_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "LONGEST", 8)
    assert read("1234567\n", "12345678\n", "1234567\n") == [
        (1, ["1234567"], "1234567\n"),
        (2, "wanted a row of at most 8 characters, got a longer one", "12345678\n"),
        (3, ["1234567"], "1234567\n"),
    ]
    found = read('"23\n', '5"\n', '"23\n', "567\n", '9"\n')
    assert [line for line, *_ in found] == [1, 3, 4, 5]
    assert found[0] == (1, ["23\n5"], '"23\n5"\n')
    assert "at most 8 characters" in found[1][1]


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_a_delimiter_parts_cells(delimiter: str) -> None:
    assert read(f"a{delimiter}b,c\n", delimiter=delimiter)[0][1] == ["a", "b,c"]


def test_a_delimiter_is_one_character() -> None:
    assert [check_delimiter(d) for d in (",", ";", "\t", "\\t", " ", "é")] == list(",;\t\t é")
    for bad in ("", ";;", '"', "\n", "\r", "\\n"):
        with pytest.raises(InputError, match="--delimiter: wanted one character"):
            check_delimiter(bad)
