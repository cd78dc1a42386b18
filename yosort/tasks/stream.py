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
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sized
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_flag, check_inputs, checks_calls, is_integer, with_names
from yosort.errors import ConfigError, InputError, YosortError, show
from yosort.model.answering import score_packed
from yosort.model.base import PretrainedModel
from yosort.saving import check_saving
from yosort.tasks.batch import Batch, Row
from yosort.tasks.options import Stream, option_names, read_stream, translate
from yosort.tasks.uncertainty import draw_seeds, without_zero_errors
from yosort.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger("yosort")
#: The tokens of a text that is too long are counted for the message up to so many characters.
COUNTED = 1 << 20
_STEPS = "the pipeline itself does it all; model(**tokenizer(text, return_tensors='np')) the parts"
#: What transformers' pipelines have besides, and what to do instead.
_INSTEAD = {
    **dict.fromkeys(("preprocess", "forward", "postprocess", "run_single", "run_multi"), _STEPS),
    "ensure_tensor_on_device": "a model moves what it is given to its own device",
    "device_placement": "a model is on the device that it was loaded with",
    "feature_extractor": "texts are all that it reads: `tokenizer`",
    "image_processor": "texts are all that it reads: `tokenizer`",
    "framework": "yosort is its own",
    "push_to_hub": "save_pretrained writes a folder, huggingface_hub.upload_folder uploads it",
}
#: Options that say one thing in several ways: a call's replaces the pipeline's.
_ALTERNATIVES = (("overflow", "truncation", "stride"),)
NO_TOKENS = "wanted a text with something to read, but the tokenizer keeps nothing of"
#: A window holds this many batches' tokens, and at most so many inputs.
WINDOW_BATCHES, WINDOW_INPUTS = 4, 1024


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
    """One input on its way: its rows, what the task keeps of it, and the rows' outputs.

    `name` is what messages about it begin with; nothing for an input that came alone.
    """

    index: int
    name: str = ""
    rows: list[Row] = field(default_factory=list)
    kept: Any = None
    truncated: bool = False
    outputs: list[Any] = field(default_factory=list)
    error: YosortError | None = None


@checks_calls(InputError)
class Pipeline(ABC):
    """A task over a model and its tokenizer.

    Subclasses say how an input becomes rows, what the model answers to a batch of rows, and how an
    input's result is made of its rows' answers.

    Args:
        model: one of the class that the task runs on.
        tokenizer: None for the model's own.
        samples: draws of hash functions; see `pipeline`.
        defaults: options of every call that does not name them.

    Raises:
        ConfigError: a model of another task, no tokenizer, several samples where there is nothing
            to draw, or an option that a call does not take.
    """

    #: The task's name.
    task: ClassVar[str]
    #: The keywords of a call.
    options: ClassVar[tuple[str, ...]]
    #: The names under which inputs may come, in place of the first argument.
    inputs: ClassVar[tuple[str, ...]] = ("inputs",)
    #: Keywords that people look for in this task, and what it has instead.
    instead: ClassVar[dict[str, str]] = {}
    #: What becomes of texts that are too long, unless told.
    overflow: ClassVar[str] = "error"
    #: What the task runs on.
    model_class: ClassVar[type[PretrainedModel]] = PretrainedModel
    _first_index: int = 0
    #: Whether results hold scores, of which several draws give standard errors.
    has_scores: ClassVar[bool] = True

    @with_names(ConfigError)
    def __init__(
        self,
        model: PretrainedModel,
        tokenizer: Tokenizer | None = None,
        samples: int = 1,
        **defaults: Any,
    ) -> None:
        if not isinstance(model, self.model_class):
            raise ConfigError(
                f"model: wanted a {self.model_class.__name__}, got {type(model).__name__}"
            )
        found = model.tokenizer if tokenizer is None else tokenizer
        if found is None:
            raise ConfigError("tokenizer: wanted one, for the model was not loaded from a folder")
        if not isinstance(found, Tokenizer):
            raise ConfigError(f"tokenizer: wanted a Tokenizer of yosort's, got {show(found)}")
        self.model = model
        self.tokenizer = found
        self.max_tokens = model.config.max_position_embeddings
        self._seeds = draw_seeds(model, samples, has_scores=self.has_scores)
        self._defaults = self._read_defaults(defaults)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.options = tuple(n for n in option_names(cls.__call__) if n not in cls.instead)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Answer for one input, a list, or any iterable; see each task."""
        raise NotImplementedError

    if not TYPE_CHECKING:  # a checker would take every name for one

        def __getattr__(self, name: str) -> Any:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message + (f": {_INSTEAD[name]}" if name in _INSTEAD else ""))

    def predict(self, inputs: Any) -> Any:
        """Return what a call returns: the name that scikit-learn and transformers have for it.

        Args:
            inputs: as in a call.

        Raises:
            InputError: as a call.
        """
        return self(inputs)

    def transform(self, inputs: Any) -> Any:
        """Return what a call returns, as `predict`.

        Args:
            inputs: as in a call.

        Raises:
            InputError: as a call.
        """
        return self(inputs)

    @with_names(ConfigError, save_directory="folder")
    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write the model and the tokenizer that it runs with into a folder.

        Args:
            folder: where to; it is made if need be.
            options: of transformers' that ask for nothing else, such as `push_to_hub=False`.

        Raises:
            CheckpointError: the folder cannot be made or written.
            ConfigError: an option that asks for something else.
        """
        check_saving(options, ("folder",), ConfigError)
        self.model.save_pretrained(folder)
        if self.tokenizer is not self.model.tokenizer:
            self.tokenizer.save_pretrained(folder)

    def numbered_from(self, first: int) -> Self:
        """Return this pipeline with another number of the first input: a run that goes on.

        Args:
            first: what messages and failures call it.

        Raises:
            InputError: not a number of 0 or more.
        """
        if not is_integer(first) or first < 0:
            raise InputError.wanted("first", "an integer of at least 0", first)
        other = copy(self)
        other._first_index = int(first)
        return other

    def _read_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        """Check the defaults of calls: a call of nothing reads them all."""
        defaults = self._defaults = translate(given, self.options, self.instead, ConfigError)
        try:
            check_flag("progress", defaults.get("progress", False))
            self([], progress=False)
        except InputError as error:
            raise ConfigError(str(error)) from None
        return defaults

    def understand(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a call's options under our names, with the pipeline's own where it has none.

        Raises:
            InputError: an option that the task does not have, with the nearest name.
        """
        named = translate(given, (*self.options, *self.inputs), self.instead, InputError)
        defaults = self._defaults
        for group in _ALTERNATIVES:
            if not named.keys().isdisjoint(group):
                defaults = {k: v for k, v in defaults.items() if k not in group}
        return {**defaults, **named}

    def read_positional(self, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """Return what a call was given without names, by name."""
        if len(inputs) > 1:
            raise InputError(f"wanted one input, or a list of them, got {len(inputs)} arguments")
        return dict(zip(("inputs",), inputs, strict=False))

    def wrap(self, result: Any, inputs: Any, given: dict[str, Any]) -> Any:
        """Return a call's result in the form that transformers gives it, by what was given."""
        return result

    @property
    def device(self) -> str:
        """Where the model runs: "cpu", or "cuda:N"."""
        return self.model.device

    @property
    def torch_dtype(self) -> np.dtype[Any] | str:
        """The compute type, by transformers' name."""
        return self.model.dtype

    @property
    def dtype(self) -> np.dtype[Any] | str:
        """The compute type."""
        return self.model.dtype

    def __repr__(self) -> str:
        defaults = "".join(f", {name}={value!r}" for name, value in self._defaults.items())
        return f"{type(self).__name__}({self.task!r}, {self.model!r}{defaults})"

    @abstractmethod
    def prepare(self, item: Item, value: Any, options: dict[str, Any]) -> None:
        """Tokenize one input into item.rows; raise InputError if it cannot be."""

    @abstractmethod
    def run(self, batch: Batch, options: dict[str, Any]) -> list[Any]:
        """Return the model's answer to each row of a batch, on the host."""

    @abstractmethod
    def finish(self, item: Item, options: dict[str, Any]) -> Any:
        """Return an input's result."""

    def ask(self, batch: Batch, rows: npt.NDArray[np.int64] | None = None) -> npt.NDArray[Any]:
        """Return the head's scores on the host: [draws, rows, scores of one], packed.

        Args:
            batch: the texts.
            rows: int64 [k] ascending, the packed rows to score; None for all.
        """
        found = score_packed(self.model, batch.inputs, rows, self._seeds)
        return np.stack([self.model.to_host(scores) for scores in found])

    def is_one(self, inputs: Any) -> bool:
        """Whether this is one input, not several."""
        return isinstance(inputs, (str, dict))

    def read_stream(self, **given: Any) -> Stream:
        """Check the options that all tasks share; see `StreamOptions`."""
        return read_stream(longest=self.max_tokens, default_overflow=self.overflow, **given)

    def answer(self, inputs: Any, options: dict[str, Any], stream: Stream) -> Any:
        """Return the result of one input, a list for what has a length, else an iterator."""
        batch_tokens, on_error = stream.batch_tokens, stream.on_error
        options = {
            **options,
            "overflow": stream.overflow,
            "max_tokens": stream.max_tokens,
            "cut": stream.strategy,
            "batch_size": stream.batch_size,
        }
        if self.is_one(inputs):
            (result,) = self._stream([inputs], options, batch_tokens, on_error, name="")
            return result
        results = self._stream(check_inputs(inputs), options, batch_tokens, on_error)
        if stream.progress:
            from tqdm import tqdm

            total = len(inputs) if isinstance(inputs, Sized) else None
            results = iter(tqdm(results, total=total, unit=" inputs"))
        return list(results) if isinstance(inputs, Sized) else results

    def _stream(
        self,
        inputs: Iterable[Any],
        options: dict[str, Any],
        batch_tokens: int,
        on_error: str,
        name: str = "inputs[{}]: ",
    ) -> Iterator[Any]:
        """Yield the result of each input, a `Failure` in its place, or raise what was wrong."""
        cut = 0
        for window, stop in self._windows(inputs, options, batch_tokens, on_error, name):
            for item in (item for item in window if item.truncated):
                cut += 1
                if cut == 1:
                    _log.warning("%scut to %d tokens", item.name, options["max_tokens"])
            yield from self._answer_window(window, options, batch_tokens, on_error)
            if stop is not None:
                raise stop
        if cut > 1:
            _log.warning("%d inputs were cut", cut)

    def _windows(
        self,
        inputs: Iterable[Any],
        options: dict[str, Any],
        batch_tokens: int,
        on_error: str,
        name: str,
    ) -> Iterator[tuple[list[Item], BaseException | None]]:
        """Yield tokenized inputs a window at a time, and with the last what ended the reading."""
        window: list[Item] = []
        tokens = 0
        end: Any = object()
        numbered: Iterator[Any] = enumerate(inputs, self._first_index)
        while True:
            try:
                found = next(numbered, end)
                if found is end:
                    break
                index, value = found
                item = Item(index, name.format(index))
                try:
                    if isinstance(value, YosortError):
                        raise value
                    self.prepare(item, value, options)
                except YosortError as error:
                    item.error = error
                window.append(item)
            except BaseException as error:
                # Ctrl-C too: whoever stops a slow pipe gets the answers to what came through it.
                yield window, error
                return
            tokens += sum(len(row.ids) for row in item.rows)
            full = tokens >= WINDOW_BATCHES * batch_tokens or len(window) >= WINDOW_INPUTS
            if full or (item.error is not None and on_error == "raise"):
                yield window, None
                window, tokens = [], 0
        yield window, None

    def _answer_window(
        self, window: list[Item], options: dict[str, Any], batch_tokens: int, on_error: str
    ) -> Iterator[Any]:
        """Run what is in the window and yield its results in order."""
        places = [(item, i) for item in window for i in range(len(item.rows)) if not item.error]
        places.sort(key=lambda place: len(place[0].rows[place[1]].ids), reverse=True)
        for item in window:
            item.outputs = [None] * len(item.rows)
        stop: BaseException | None = None
        try:
            begin = 0
            while begin < len(places):
                end, tokens = begin, 0
                while end < len(places):
                    tokens += len(places[end][0].rows[places[end][1]].ids)
                    full = tokens > batch_tokens or end - begin == options["batch_size"]
                    if full and end > begin:
                        break
                    end += 1
                self._run_batch(places[begin:end], options, on_error)
                begin = end
        except BaseException as error:
            stop = error  # the results that are there leave first
        for item in window:
            if stop is not None and not item.error and any(out is None for out in item.outputs):
                break
            yield self._result(item, options, on_error)
        if stop is not None:
            raise stop

    def _result(self, item: Item, options: dict[str, Any], on_error: str) -> Any:
        """Return an item's result or its Failure, or raise its error."""
        if item.error is None:
            try:
                result = self.finish(item, options)
                if self._seeds and any(len(r.ids) >= self.model.sampled_from for r in item.rows):
                    result = without_zero_errors(result)
                return mark_truncated(result) if item.truncated else result
            except YosortError as error:
                item.error = error
        if on_error == "raise":
            raise type(item.error)(f"{item.name}{item.error}") from item.error
        return Failure(item.index, item.error)

    def _run_batch(
        self, places: list[tuple[Item, int]], options: dict[str, Any], on_error: str
    ) -> None:
        """Put the model's answers into their items; an error into the item that it belongs to."""
        try:
            rows = [item.rows[i] for item, i in places]
            with np.errstate(invalid="ignore"):  # what is not finite is found below
                answers = self.run(Batch(rows, self.model), options)
        except YosortError as error:
            if on_error == "raise" and not isinstance(error, InputError):
                raise
            if len(places) == 1:
                places[0][0].error = error
                return
            for place in places:  # one bad row does not take its batch along
                self._run_batch([place], options, on_error)
            return
        for (item, i), output in zip(places, answers, strict=True):
            item.outputs[i] = output
            if not _is_finite(output):
                item.error = InputError(
                    "the model's answer is not a finite number: wanted weights without NaN or "
                    "infinity, and for large ones dtype='float32', which reaches beyond float16"
                )

    def encode(
        self, item: Item, value: Any, pair: str | None, options: dict[str, Any], **how: Any
    ) -> list[Any]:
        """Tokenize a text, or a pair, into item.rows by the `overflow` option.

        Args:
            item: gets the rows.
            value: the text, or a list of words.
            pair: the second text.
            options: `overflow`: an error, a cut, or windows that overlap by `stride` tokens, past
                `max_tokens`; `cut`: what of a pair may be cut.
            how: `max_tokens`, `stride` and `strategy` of windows or cuts.

        Returns:
            The encoding of each row.
        """
        limit = how.get("max_tokens") or options["max_tokens"]
        strategy = how.get("strategy") or options["cut"]
        windows = options["overflow"] == "stride"
        kept = value, pair
        if not windows:  # what is cut off need not be tokenized
            kept = self.tokenizer.leading(value, pair, max_tokens=limit, strategy=strategy)
        encodings = [self.tokenizer.encoding(*kept)]
        count = len(encodings[0])
        # An empty text is nothing but its special tokens, where there are some; so transformers.
        if all(encodings[0].special_tokens_mask) and (value or pair or not count):
            raise InputError(f"{NO_TOKENS} {show(value)}")
        if count > limit:
            if options["overflow"] == "error":
                got = f"more than {count}"
                if sum(map(len, filter(None, (value, pair)))) <= COUNTED:
                    got = str(len(self.tokenizer.encoding(value, pair)))
                raise InputError(
                    f"text too long: wanted at most {limit} tokens, got {got}; "
                    "overflow='truncate' cuts it"
                )
            stride = how.get("stride", 0) if windows else 0
            first = self.tokenizer.encoding(
                *kept, max_tokens=limit, stride=stride, strategy=strategy
            )
            encodings = [first, *first.overflowing] if windows else [first]
            item.truncated = not windows
        for encoding in encodings:
            types = list(encoding.type_ids)
            known = self.model.config.type_vocab_size
            if not self.tokenizer.token_types or max(types, default=0) >= known:
                types = [0] * len(types)
            item.rows.append(Row(list(encoding.ids), types))
        return encodings


def _is_finite(output: Any) -> bool:
    """Whether no number of a row's output is NaN or infinite."""
    if isinstance(output, np.ndarray):
        return bool(np.isfinite(output).all())
    if isinstance(output, (list, tuple)):
        return all(map(_is_finite, output))
    if isinstance(output, dict):
        return all(map(_is_finite, output.values()))
    return not isinstance(output, float) or math.isfinite(output)


def mark_truncated(result: Any) -> Any:
    """Say in a result's dictionaries that the text was cut."""
    if isinstance(result, dict):
        return {**result, "truncated": True}
    if isinstance(result, list) and result and isinstance(result[0], (dict, list)):
        return [mark_truncated(part) for part in result]
    return result


def no_text(value: Any) -> InputError:
    """Return the error of an input that has to be a text and is none."""
    hint = "; of a row, give its text: row['text']" if isinstance(value, dict) else ""
    return InputError(f"wanted a text, got {type(value).__name__}{hint}")


def no_stride(options: dict[str, Any], task: str) -> None:
    """Raise InputError if windows are asked of a task that gives one answer a text."""
    if options["overflow"] == "stride":
        raise InputError(
            f"overflow: wanted 'error' or 'truncate' for {task}, which answers once a text"
        )


def softmax(scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the softmax over the last axis, in float64."""
    scores = np.asarray(scores, np.float64)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
