"""The library's messages in the words of a command line.

The library names options and inputs as Python writes them: `overflow='truncate'`, `inputs[2]`. Here
they become `--overflow truncate` and `FILE, line 3`. What an option is called is read off the
command's own parser, so that no message and no option is listed anywhere.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections import deque

from yosort.errors import one_line
from yosort.model.architectures import TASKS

_WITHOUT_EFFECT = "yosort: {}: without effect on {}"
_VALUE = r"'[^']*'|\"[^\"]*\"|True|False|None|-?\d[\d.]*"


class Places:
    """Where inputs came from: what messages call `inputs[index]`.

    Args:
        keep: the last so many; None for all.
    """

    def __init__(self, keep: int | None = 4096) -> None:
        self._last: deque[str] = deque(maxlen=keep)
        self._count = 0

    def note(self, where: str) -> None:
        """Say where the next input comes from."""
        self._last.append(where)
        self._count += 1

    def of(self, index: int) -> str:
        """Return an input's place."""
        at = index - (self._count - len(self._last))
        return self._last[at] if 0 <= at < len(self._last) else f"text {index + 1}"


class Words:
    """Puts messages into the words of one command.

    Args:
        parser: the command's.
        places: where its inputs came from.
    """

    def __init__(self, parser: argparse.ArgumentParser, places: Places) -> None:
        self.places = places
        self._flags: dict[str, argparse.Action] = {}
        for action in parser._actions:
            if action.option_strings:
                self._flags.setdefault(action.dest, action)
        names = "|".join(sorted(map(re.escape, self._flags), key=len, reverse=True))
        snakes = "|".join(n for n in self._flags if "_" in n) or "(?!)"
        self._options = re.compile(
            rf"(?<![\w.\-/])(?P<set>{names})=(?P<value>{_VALUE})"  # overflow='truncate'
            rf"|(?P<start>^|(?<=: ))(?P<first>{names})(?=: )"  # top_k: wanted ...
            rf"|(?<![\w.\-/'\"])(?P<alone>{snakes})(?![\w.\-/'\"=(])"  # ... of max_seq_len
        )

    def __call__(self, message: str | Exception) -> str:
        """Return a message on one line, in the command's words."""
        text = message if isinstance(message, str) else one_line(message)
        text = self._options.sub(self._option, text)
        # On a command line None is an option left out; numbers of errors are the system's own.
        text = re.sub(r"\b(wanted )None(?:,| or) |\[Errno -?\d+\] ", r"\1", text)
        text = re.sub(r"(?:yosort\.)?\bpipeline\([\"']([a-z-]+)[\"']\)", _command, text)
        return re.sub(r"\binputs\[(\d+)\](: |, )?", self._place, text)

    def _option(self, found: re.Match[str]) -> str:
        name = found["set"] or found["first"] or found["alone"]
        action = self._flags[name]
        flag = action.option_strings[-1]
        if not found["set"]:
            return flag
        value = found["value"].strip("'\"")
        if action.nargs == 0:
            return flag if value == str(action.const) else f"no {flag}"
        return f"{flag} {value}"

    def _place(self, found: re.Match[str]) -> str:
        place, end = self.places.of(int(found[1])), found[2] or ""
        if place:
            return f"{place}{end}"
        return "" if end == ": " else f"the text{end}"


class Formatter(logging.Formatter):
    """Formats log records for a command's standard error."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self._words = words

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return f"yosort: {self._words(super().format(record))}"


def explain(error: Exception, arguments: argparse.Namespace) -> str:
    """Return what a command's user reads of the error that ended it."""
    if isinstance(error, MemoryError):
        error = MemoryError("out of memory; smaller files, or shorter lines, need less")
    elif isinstance(error, OSError) and error.strerror:
        where = error.filename or "standard output: cannot be written"
        error = OSError(f"{where}: {error.strerror}")
    text: str = arguments.words(error)
    for flag in swallowing(arguments):
        if text.startswith(f"{flag}: "):
            text += f"; {belongs(flag)}"
    return text


def swallowing(arguments: argparse.Namespace) -> list[str]:
    """Return the options that may have taken texts for words of their own: none is left."""
    if getattr(arguments, "text", True) or arguments.input:
        return []
    actions: list[argparse.Action] = arguments.parser._actions
    taken = (a for a in actions if a.option_strings and a.nargs in ("+", "*"))
    return [a.option_strings[-1] for a in taken if getattr(arguments, a.dest)]


def belongs(flag: str, others: str = "texts") -> str:
    """Return the hint at where an option of several words ends."""
    return f"all words behind {flag} are its own: {others} go before it, or behind --"


def note_unused(arguments: argparse.Namespace, attention: str) -> None:
    """Say which options change nothing of a model of this form of attention, read from there."""
    random_head = getattr(arguments, "allow_random_head", False)
    drawn = {"--num-hash": arguments.num_hash, "--seed": None if random_head else arguments.seed}
    given = [flag for flag, value in drawn.items() if value is not None]
    if given and attention == "expectation":
        what = "--attention expectation" if arguments.attention else "this model's attention"
        hint = "; --attention sampled, or auto, draws hash functions"
        print(_WITHOUT_EFFECT.format(" and ".join(given), what) + hint, file=sys.stderr)
    note_revision(arguments.revision, arguments.model)


def note_revision(revision: str | None, model: str | None) -> None:
    """Say that --revision changes nothing of a folder, or of the model on board."""
    if revision is not None and (model is None or os.path.isdir(model)):
        what = "a folder; it chooses a version of a hub id"
        print(_WITHOUT_EFFECT.format("--revision", what), file=sys.stderr)


def _command(found: re.Match[str]) -> str:
    command = TASKS[found[1]].command if found[1] in TASKS else None
    return f"yosort {command}" if command else f"{found[0]} in Python"
