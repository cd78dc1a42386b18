"""Results as a reader on a terminal sees them: a few lines for each text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from yosort.cli import terminal

#: The column of words and labels, at least.
_NAME = 16
#: What must be left beside it, or its text goes below.
_REST = 14


class Screen:
    """Shows results, each under the text that it answers where there are several.

    Args:
        show: makes lines of a result and the columns that there are.
        texts: what was asked, in the results' order.
    """

    def __init__(self, show: Callable[[Any, int], Iterator[str]], texts: Sequence[str]) -> None:
        self._show = show
        self._texts = texts
        self._count = 0

    def write(self, result: Any, kept: dict[str, Any]) -> None:
        """See `Writer.write`."""
        from yosort.tasks.stream import Failure

        columns = terminal.width()
        lines: Iterable[str]
        if isinstance(result, Failure):
            lines = terminal.hang("  error  ", terminal.printable(str(result.error)), columns)
        else:
            lines = self._show(result, columns)
        if len(self._texts) > 1:
            if self._count:
                print()
            text = terminal.printable(self._texts[self._count])
            print(terminal.shorten(text, columns))
        self._count += 1
        print("\n".join(lines) or "  nothing found", flush=True)

    def close(self, *, complete: bool) -> None:
        """See `Writer.close`."""


def show_masks(result: Any, columns: int) -> Iterator[str]:
    """Yield a line an answer: score, word, the whole text; several masks one after the other."""
    masks = result if isinstance(result[0], list) else [result]
    for number, mask in enumerate(masks, 1):
        if len(masks) > 1:
            yield f"  mask {number} of {len(masks)}"
        rows = [(_share(a), a["token_str"].strip(), a["sequence"]) for a in mask]
        yield from _table(rows, columns)


def show_labels(result: Any, columns: int) -> Iterator[str]:
    """Yield a line a label: score, label."""
    rows = [
        (_number(a), a["label"], "") for a in (result if isinstance(result, list) else [result])
    ]
    return _table(rows, columns)


def show_entities(result: Any, columns: int) -> Iterator[str]:
    """Yield a line an entity or token: score, label, text."""
    rows = [(_share(e), e.get("entity_group", e.get("entity")), e["word"].strip()) for e in result]
    return _table(rows, columns)


def show_answers(result: Any, columns: int) -> Iterator[str]:
    """Yield a line an answer: score, text."""
    answers = result if isinstance(result, list) else [result]
    return _table([(_share(a), a["answer"] or "no answer", "") for a in answers], columns)


def show_ranks(result: Any, columns: int) -> Iterator[str]:
    """Yield a line a document: score, text."""
    return _table([(_number(a), a["text"], "") for a in result], columns)


def _share(answer: dict[str, Any]) -> str:
    error = answer.get("standard_error")
    return f"{answer['score']:7.2%}" + ("" if error is None else f" ± {error:6.2%}")


def _number(answer: dict[str, Any]) -> str:
    error = answer.get("standard_error")
    return f"{answer['score']:8.4f}" + ("" if error is None else f" ± {error:.4f}")


def _table(rows: Iterable[tuple[str, str, str]], columns: int) -> Iterator[str]:
    """Yield the lines of rows: a score, a name, and what goes beside it; long ones are wrapped."""
    for score, name, rest in rows:
        head, name, rest = f"{score}  ", terminal.printable(name), terminal.printable(rest)
        beside = f"{head}{terminal.pad(name, _NAME)} "
        if not rest:
            yield from terminal.hang(head, name, columns)
        elif terminal.cells(name) <= _NAME and terminal.cells(beside) <= columns - _REST:
            yield from terminal.hang(beside, rest, columns)
        else:
            yield from terminal.hang(head, f"{name}  {rest}", columns)
