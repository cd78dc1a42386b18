"""From any number of inputs to as many results, in order: what all pipelines share.

Inputs are read lazily, a window at a time. The rows of a window are sorted by length and cut into
batches of at most `batch_tokens` tokens; results leave in input order. Memory holds one window.

What goes wrong with one input is that input's error, be it found in reading, tokenizing, running or
finishing: it is raised after the results of what came before, or stands in the input's place. An
iterable says so of what it could not read by handing in a YosortError in the input's place. What it
raises itself ends the run, after the results of what came before: a generator that has raised is
finished, and nobody knows what would have followed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from yosort.errors import InputError, YosortError, naming_memory
from yosort.tasks.batch import Batch, Prepared, cut
from yosort.tasks.options import CallOptions

if TYPE_CHECKING:
    from yosort.tasks.base import Pipeline

_log = logging.getLogger("yosort")
#: A window holds this many batches' tokens, and at most so many inputs.
WINDOW_BATCHES, WINDOW_INPUTS = 4, 1024

#: What is said of an answer with NaN or infinity in it.
NOT_FINITE = (
    "the model's answer is not a finite number: wanted weights without NaN or infinity, and for "
    "large ones dtype='float32', which reaches beyond float16"
)


@dataclass(frozen=True)
class Failure:
    """What stands in an input's place with on_error="collect".

    Attributes:
        index: the input's number, from 0.
        error: what was wrong with it.
    """

    index: int
    error: YosortError

    def to_dict(self) -> dict[str, Any]:
        """Return `{"index", "error"}` with the message, which json.dumps takes."""
        return {"index": self.index, "error": str(self.error)}


@dataclass
class Item:
    """One input on its way, and the model's answer to each of its rows.

    `name` is what messages about it begin with; nothing for an input that came alone.
    """

    index: int
    name: str
    prepared: Prepared = field(default_factory=Prepared)
    outputs: list[Any] = field(default_factory=list)
    error: YosortError | None = None


class Stream:
    """The inputs of one call, from which results come in order.

    Args:
        pipeline: what prepares, runs and finishes them.
        options: of the call.
        name: what messages call an input, with its number.
    """

    def __init__(self, pipeline: Pipeline, options: CallOptions, name: str = "") -> None:
        self._pipeline, self._options, self._name = pipeline, options, name
        self._raises = options.on_error == "raise"

    def results(self, inputs: Iterable[tuple[int, Any]]) -> Iterator[Any]:
        """Yield the result of each numbered input, a `Failure` in its place, or raise its error."""
        count = 0
        for window, stop in self._windows(inputs):
            for item in (item for item in window if item.prepared.truncated):
                count += 1
                if count == 1:
                    _log.warning("%scut to %d tokens", item.name, self._options.max_length)
            yield from self._answer(window)
            if stop is not None:
                raise stop
        if count > 1:
            _log.warning("%d inputs were cut", count)

    def _windows(
        self, inputs: Iterable[tuple[int, Any]]
    ) -> Iterator[tuple[list[Item], BaseException | None]]:
        """Yield tokenized inputs a window at a time, and with the last what ended the reading."""
        window: list[Item] = []
        tokens = 0
        end: Any = object()
        numbered = iter(inputs)
        while True:
            try:
                found = next(numbered, end)
                if found is end:
                    break
                item = self.prepare(*found)
                window.append(item)
            except BaseException as error:
                # Ctrl-C too: whoever stops a slow pipe gets the answers to what came through it.
                yield window, error
                return
            tokens += sum(len(row.ids) for row in item.prepared.rows)
            full = tokens >= WINDOW_BATCHES * self._options.batch_tokens
            if full or len(window) >= WINDOW_INPUTS or (item.error is not None and self._raises):
                yield window, None
                window, tokens = [], 0
        yield window, None

    def prepare(self, index: int, value: Any) -> Item:
        """Return one input as rows, or with the error that it is."""
        item = Item(index, self._name.format(index))
        try:
            if isinstance(value, YosortError):
                raise value
            item.prepared = self._pipeline.prepare(value, self._options)
            item.outputs = [None] * len(item.prepared.rows)
        except YosortError as error:
            item.error = error
        return item

    def _answer(self, window: list[Item]) -> Iterator[Any]:
        """Run what is in the window and yield its results in order."""
        places = [(item, i) for item in window for i in range(len(item.outputs))]
        lengths = [len(item.prepared.rows[i].ids) for item, i in places]
        stop: BaseException | None = None
        try:
            options, attended = self._options, self._pipeline.model.padding == "attended"
            for rows in cut(lengths, options.batch_tokens, options.batch_size, in_order=attended):
                self.run([places[row] for row in rows])
        except BaseException as error:
            stop = error  # the results that are there leave first
        for item in window:
            if stop is not None and not item.error and any(out is None for out in item.outputs):
                break
            yield self.result(item)
        if stop is not None:
            raise stop

    def run(self, places: list[tuple[Item, int]]) -> None:
        """Put the model's answers into their items; an error into the item that it belongs to."""
        try:
            batch = Batch([item.prepared.rows[i] for item, i in places], self._pipeline.model)
            with np.errstate(invalid="ignore"), naming_memory():  # what is not finite: below
                answers = self._pipeline.run(batch, self._options)
        except YosortError as error:
            if self._raises and not isinstance(error, InputError):
                raise
            if len(places) == 1:
                places[0][0].error = error
                return
            for place in places:  # one bad row does not take its batch along
                self.run([place])
            return
        for (item, i), output in zip(places, answers, strict=True):
            item.outputs[i] = output
            if not is_finite(output):
                item.error = InputError(NOT_FINITE)

    def result(self, item: Item) -> Any:
        """Return an item's result or its Failure, or raise its error."""
        if item.error is None:
            try:
                with naming_memory():
                    result = self._pipeline.result(item.prepared, item.outputs, self._options)
                return mark_truncated(result) if item.prepared.truncated else result
            except YosortError as error:
                item.error = error
        if self._raises:
            raise type(item.error)(f"{item.name}{item.error}") from item.error
        return Failure(item.index, item.error)


def is_finite(output: Any) -> bool:
    """Whether no number of a row's output is NaN or infinite."""
    if isinstance(output, np.ndarray):
        return bool(np.isfinite(output).all())
    if isinstance(output, (list, tuple)):
        return all(map(is_finite, output))
    if isinstance(output, dict):
        return all(map(is_finite, output.values()))
    return not isinstance(output, float) or math.isfinite(output)


def mark_truncated(result: Any) -> Any:
    """Say in a result's dictionaries that the text was cut."""
    if isinstance(result, dict):
        return {**result, "truncated": True}
    if isinstance(result, list) and result and isinstance(result[0], (dict, list)):
        return [mark_truncated(part) for part in result]
    return result
