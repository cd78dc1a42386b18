"""Running a task's command: inputs -> pipeline -> records, started anew or continued."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from yosort.cli import messages, picking, reading, resuming, screen, writing
from yosort.cli.reading import Entry
from yosort.errors import InputError, YosortError
from yosort.model.architectures import TASKS
from yosort.tasks import pipeline
from yosort.tasks.feature_extraction import usual_pooling
from yosort.tasks.stream import Failure

Show = Callable[[Any, int], Iterator[str]]
#: The second of what such a task reads, which one option may give to all inputs.
_SHARED = {"question-answering": "context", "text-ranking": "documents"}
_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".npy")


def run(
    arguments: argparse.Namespace,
    task: str,
    keys: tuple[str, ...],
    given: dict[str, Any],
    loading: dict[str, Any],
    show: Show | None,
) -> int:
    """Run a command; return its exit status.

    Args:
        arguments: of the command line.
        task: the pipeline's.
        keys: of the inputs that are objects.
        given: options of the pipeline's call.
        loading: options of the pipeline.
        show: how a result looks on a terminal.
    """
    if getattr(arguments, "spans", False):
        keys = (*keys, "spans")
    reading.check(arguments, keys)
    _check_output(arguments)
    shared = _SHARED.get(task)
    for_all = _for_all(arguments, shared) if shared else None
    # Of its options a pipeline may need some to be made; a call says them again, as a user would.
    answer = pipeline(task, arguments.model, samples=arguments.samples, **loading, **given)
    if task == "feature-extraction":
        given.setdefault("pooling", usual_pooling(answer.model))
    messages.note_unused(arguments, answer.model.attention)
    entries: Iterator[Entry] = reading.read(arguments, keys)
    if shared:
        entries = (_with_shared(entry, task, for_all) for entry in entries)
    elif given.get("is_split_into_words"):
        entries = (_split(entry) for entry in entries)
    elif keys[-1] == "spans":
        entries = map(_with_spans, entries)
    if _in_parts(arguments):
        entries = map(_numbered, count(), entries)

    def again(some: list[Entry], first: int) -> list[Any]:
        """Return results that are in the file already, or in its torn end."""
        values = iter([entry.value for entry in some])
        options = {**given, "batch_tokens": arguments.batch_tokens, "on_error": "collect"}
        results = answer.numbered_from(first)(values, **options)
        return [_said(arguments, result) for result in results]

    writer, done, ahead = _open(arguments, task, answer, entries, again, show)
    answer = answer.numbered_from(done)
    kept: deque[dict[str, Any]] = deque()

    def values() -> Iterator[Any]:
        for entry in chain(ahead, entries):
            kept.append(entry.kept)
            yield entry.value

    failures, written, complete = 0, done, False
    try:
        for result in answer(
            values(),
            **given,
            batch_tokens=arguments.batch_tokens,
            on_error=arguments.on_error,
            progress=arguments.output is not None and sys.stderr.isatty(),
        ):
            failures += isinstance(result, Failure)
            with writing.named(arguments.output):
                writer.write(_said(arguments, result), kept.popleft())
            written += 1
        complete = True
    except KeyboardInterrupt as error:
        hint = f" in {arguments.output}; --resume goes on" if arguments.output and written else ""
        error.args = (f" after {written} results{hint}",)
        raise
    except Exception:
        if arguments.output and written:
            print(f"yosort: {written} results are in {arguments.output}", file=sys.stderr)
        raise
    finally:
        with writing.named(arguments.output):
            writer.close(complete=complete)
    if not written:
        names = ", ".join(arguments.input or ["standard input"])
        nothing = f"nothing to answer: there are no texts in {names}"
        if flags := messages.swallowing(arguments):
            raise InputError(f"{nothing}; {messages.belongs(flags[-1])}")
        print(f"yosort: {nothing}", file=sys.stderr)
    if failures:
        print(f"yosort: {failures} of {written} inputs failed", file=sys.stderr)
    return 1 if failures else 0


def _said(arguments: argparse.Namespace, result: Any) -> Any:
    """Return a result, a Failure's error in the command's words."""
    if isinstance(result, Failure):
        return Failure(result.index, InputError(arguments.words(result.error)))
    return result


def _check_output(arguments: argparse.Namespace) -> None:
    """Raise InputError where an output cannot be meant: before a model is loaded."""
    path: Path | None = arguments.output
    if path is None:
        if arguments.resume:
            raise InputError("--resume: wanted --output FILE to continue")
        return
    files = [getattr(arguments, f"{name}_file", None) for name in _SHARED.values()]
    for name in [*(arguments.input or ()), *filter(None, files)]:
        if name != "-" and reading.same_file(path, name):
            raise InputError(f"--output: wanted another file than what is read, got {name} twice")
    if _is_stream(path):
        if arguments.resume:
            raise InputError.wanted("--resume", "a file to continue", got=path)
        return
    if path.is_dir():
        raise InputError.wanted("--output", "a file", got=f"the folder {path}")
    if path.suffix.lower() not in _SUFFIXES:
        hint = "standard output is where results go without it" if str(path) == "-" else None
        what = "a name in .jsonl, .csv or .npy"
        raise InputError.wanted("--output", what, got=repr(str(path)), hint=hint)
    folder = path.parent
    if not folder.is_dir():
        what = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
        raise InputError(f"{path}: cannot be written: {what}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InputError(f"{path}: cannot be written: no permission")
    if not arguments.resume and path.exists() and path.stat().st_size:
        raise InputError(f"{path}: exists already; --resume continues it, or remove it first")


def _is_stream(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _open(
    arguments: argparse.Namespace,
    task: str,
    answer: Any,
    entries: Iterator[Entry],
    again: resuming.Answer,
    show: Show | None,
) -> tuple[writing.Writer, int, list[Entry]]:
    """Return the writer, how many results the output holds already, and entries read ahead."""
    path: Path | None = arguments.output
    if path is None and show and arguments.text and sys.stdout.isatty():
        return screen.Screen(show, arguments.text), 0, []
    fields, width = _forms(arguments, task, answer.model.config.hidden_size)
    kept = tuple(picking.kept_names(arguments).values())
    lines = writing.JsonLines(kept, flat=not isinstance(fields, str))
    if _in_parts(arguments):
        lines = writing.PartLines(kept)
    if path is None:
        return writing.Records(lines, None), 0, []
    if _is_stream(path):
        return writing.Records(lines, path, writing.open_new(path)), 0, []
    suffix = path.suffix.lower()
    for ending, fits in ((".csv", fields), (".npy", width)):
        if suffix == ending and isinstance(fits, str):
            raise InputError(f"--output of {ending}: {fits}; .jsonl takes every result")
    goes_on = arguments.resume and path.exists() and path.stat().st_size > 0
    if suffix == ".npy":
        if arguments.keep:
            raise InputError("--keep: wanted .jsonl or .csv, got .npy, which holds vectors alone")
        if goes_on:
            return resuming.continue_rows(path, int(width), entries, again)
        return writing.Npy(int(width), path), 0, []
    form: writing.Form = lines
    if suffix == ".csv":
        form = writing.Csv(tuple(fields), kept)
    if goes_on:
        return resuming.continue_records(path, form, entries, again)
    return writing.Records(form, path), 0, []


def _forms(
    arguments: argparse.Namespace, task: str, hidden_size: int
) -> tuple[tuple[str, ...] | str, int | str]:
    """Return a .csv's columns and a .npy's width, or why the results fit into neither."""
    row = TASKS[task]
    if row.one_row is None:
        return "a text has any number of entities: no rows", "results are no vectors"
    if _in_parts(arguments):
        return "results are vectors", "a part has its place beside its vector"
    option, values = row.one_row
    wanted = ""
    if getattr(arguments, option) not in (None, *values):
        flag = f"--{option.replace('_', '-')}"
        wanted = f"wanted {flag} {' or '.join(map(str, values))}, a row a text"
    if not row.columns:
        return "results are vectors", wanted or hidden_size
    error = ("standard_error",) if arguments.samples > 1 else ()
    return wanted or (*row.columns, *error), "results are no vectors"


def _for_all(arguments: argparse.Namespace, name: str) -> Any:
    """Return what an option gives all inputs: one context, or documents; None: nothing."""
    given, file = getattr(arguments, name), getattr(arguments, f"{name}_file")
    if given is not None and file is not None:
        raise InputError(f"wanted --{name} or --{name}-file, got both")
    if file is not None:
        text = reading.read_text(file)
        if name == "context":
            return text
        return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    for text in given if isinstance(given, list) else [given] if given is not None else []:
        reading.note_path(text, f"--{name}-file reads files")
    return given


def _with_shared(entry: Entry, task: str, for_all: Any) -> Entry:
    """Return a question or query with what it is asked of: its own, or the one for all."""
    first, second = TASKS[task].keys
    value = {first: entry.value} if isinstance(entry.value, str) else entry.value
    if not isinstance(value, dict):
        return entry
    if second in value:
        if for_all is None:
            return entry
        value = InputError(
            f"wanted {second} once, got its own and that of all; --field {first} reads that alone"
        )
    elif for_all is None:
        wanted = "a context" if second == "context" else second
        value = InputError(
            f"wanted {wanted}: --{second} TEXT, --{second}-file FILE, or an --input with {first} "
            f"and {second}"
        )
    else:
        value = {**value, second: for_all}
    return replace(entry, value=value)


def _in_parts(arguments: argparse.Namespace) -> bool:
    """Whether a text has several vectors, each with its place."""
    return getattr(arguments, "chunks", None) is not None or getattr(arguments, "spans", False)


def _numbered(index: int, entry: Entry) -> Entry:
    return replace(entry, kept={"index": index, **entry.kept})


def _with_spans(entry: Entry) -> Entry:
    """Return an input that has spans; what else may come is the error of one that has none."""
    if isinstance(entry.value, (dict, YosortError)):
        return entry
    return replace(
        entry, value=InputError("wanted an object with text and spans, got a text alone")
    )


def _split(entry: Entry) -> Entry:
    return replace(entry, value=entry.value.split()) if isinstance(entry.value, str) else entry
