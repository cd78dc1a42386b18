"""A pipeline: a task over a model and its tokenizer, what all of them share."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sized
from copy import copy
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_inputs, checks_calls, is_integer, with_names
from yosort.elsewhere import PIPELINES, no_attribute
from yosort.errors import ConfigError, InputError, show
from yosort.model.answering import score_packed
from yosort.model.base import PretrainedModel
from yosort.saving import check_saving
from yosort.tasks.batch import Batch, Encoded, Prepared, Row
from yosort.tasks.options import CallOptions, translate
from yosort.tasks.stream import Stream
from yosort.tasks.uncertainty import draw_seeds, without_zero_errors
from yosort.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar

    OptionsT = TypeVar("OptionsT", bound=CallOptions, default=Any)
else:  # a default is for checkers alone: of a pipeline of any task they need not be told more
    from typing import TypeVar

    OptionsT = TypeVar("OptionsT", bound=CallOptions)

_log = logging.getLogger("yosort")
#: The tokens of a text that is too long are counted for the message up to so many characters.
COUNTED = 1 << 20
#: Options that say one thing in several ways: a call's replaces the pipeline's.
_ALTERNATIVES = (("overflow", "truncation", "stride"),)
NO_TOKENS = "wanted a text with something to read, but the tokenizer keeps nothing of"


@checks_calls(InputError)
class Pipeline(ABC, Generic[OptionsT]):
    """A task over a model and its tokenizer.

    Subclasses say how an input becomes rows, what the model answers to a batch of rows, and how an
    input's result is made of its rows' answers.

    Args:
        model: one of the class that the task runs on.
        tokenizer: None for the model's own.
        samples: draws of hash functions; see `pipeline`.
        device: where the model runs; like dtype, as what it was loaded: see its `to`.
        dtype: see above.
        defaults: options of every call that does not name them.

    Raises:
        ConfigError: a model of another task, device or type, no tokenizer, several samples where
            there is nothing to draw, or an option that a call does not take.
    """

    #: The task's name.
    task: ClassVar[str]
    #: The options of a call.
    options: ClassVar[type[CallOptions]]
    #: The names under which inputs may come, in place of the first argument.
    inputs: ClassVar[tuple[str, ...]] = ("inputs",)
    #: Keywords that people look for in this task, and what it has instead.
    instead: ClassVar[dict[str, str]] = {}
    #: What becomes of texts that are too long, unless told.
    overflow: ClassVar[str] = "error"
    #: Whether it reads such texts in windows.
    windows: ClassVar[bool] = False
    #: What the task runs on.
    model_class: ClassVar[type[PretrainedModel]] = PretrainedModel
    _first_index: int = 0
    #: Whether results hold scores, of which several draws give standard errors.
    has_scores: ClassVar[bool] = True

    @with_names(ConfigError, torch_dtype="dtype")
    def __init__(
        self,
        model: PretrainedModel,
        tokenizer: Tokenizer | None = None,
        samples: int = 1,
        *,
        device: Any = None,
        dtype: Any = None,
        **defaults: Any,
    ) -> None:
        if not isinstance(model, self.model_class):
            raise ConfigError(
                f"model: wanted a {self.model_class.__name__}, got {type(model).__name__}"
            )
        for value in (device, dtype):
            if value is not None and not (isinstance(value, str) and value == "auto"):
                model.to(value)
        found = model.tokenizer if tokenizer is None else tokenizer
        if found is None:
            raise ConfigError("tokenizer: wanted one, for the model was not loaded from a folder")
        if not isinstance(found, Tokenizer):
            raise ConfigError(
                f"tokenizer: wanted a Tokenizer of yosort's, got {show(found)}; a folder that "
                "another library's save_pretrained wrote is read by its name"
            )
        self.model = model
        self.tokenizer = found
        self.max_tokens = model.config.max_position_embeddings
        self._said: set[str] = set()
        self._seeds = draw_seeds(model, samples, has_scores=self.has_scores)
        self._defaults = self._read_defaults(defaults)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Answer for one input, a list, or any iterable; see each task."""
        raise NotImplementedError

    if not TYPE_CHECKING:  # a checker would take every name for one

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(f"{type(self).__name__!r} object", name, PIPELINES)

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

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the keywords of a call, its inputs left out."""
        return [each.name for each in fields(cls.options) if each.name not in cls.instead]

    def say_once(self, message: str) -> None:
        """Log a warning that holds for every call: of this pipeline, the first time alone.

        Args:
            message: what to say.
        """
        if message not in self._said:
            self._said.add(message)
            _log.warning(message)

    def _read_defaults(self, given: dict[str, Any]) -> OptionsT:
        """Return the options of a call that says nothing."""
        named = translate(given, self.option_names(), self.instead, ConfigError)
        try:
            defaults = cast(OptionsT, self.options(**named))
            self.read(defaults)
        except InputError as error:
            raise ConfigError(str(error)) from None
        return defaults

    def understand(self, given: dict[str, Any]) -> tuple[dict[str, Any], OptionsT]:
        """Return the inputs that a call names, and its options, the pipeline's own among them.

        Raises:
            InputError: an option that the task does not have, with the nearest name, or a value
                that means nothing.
        """
        named = translate(given, (*self.option_names(), *self.inputs), self.instead, InputError)
        inputs = {name: named.pop(name) for name in self.inputs if name in named}
        for group in _ALTERNATIVES:
            if not named.keys().isdisjoint(group):
                unset = {name: None for name in group if hasattr(self._defaults, name)}
                named = {**unset, **named}
        return inputs, replace(self._defaults, **named) if named else self._defaults

    def read_positional(self, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """Return what a call was given without names, by name."""
        if len(inputs) > 1:
            raise InputError(f"wanted one input, or a list of them, got {len(inputs)} arguments")
        return dict(zip(("inputs",), inputs, strict=False))

    def wrap(self, result: Any, inputs: Any, given: dict[str, Any]) -> Any:
        """Return a call's result in the form that transformers gives it, by what was given."""
        return result

    @property
    def draws(self) -> int:
        """How many draws of hash functions a score is the mean of: `samples`."""
        return len(self._seeds or [None])

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
        usual, own = vars(self.options()), vars(self._defaults)
        defaults = "".join(f", {name}={own[name]!r}" for name in own if own[name] != usual[name])
        return f"{type(self).__name__}({self.task!r}, {self.model!r}{defaults})"

    @abstractmethod
    def prepare(self, value: Any, options: OptionsT) -> Prepared:
        """Return one input's rows; raise InputError if it has none."""

    @abstractmethod
    def run(self, batch: Batch, options: OptionsT) -> list[Any]:
        """Return the model's answer to each row of a batch, on the host."""

    @abstractmethod
    def finish(self, prepared: Prepared, outputs: list[Any], options: OptionsT) -> Any:
        """Return an input's result of the answers to its rows."""

    def result(self, prepared: Prepared, outputs: list[Any], options: OptionsT) -> Any:
        """Return what `finish` returns, without standard errors of which nothing is known."""
        result = self.finish(prepared, outputs, options)
        sampled = any(len(row.ids) >= self.model.sampled_from for row in prepared.rows)
        return without_zero_errors(result) if self._seeds and sampled else result

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

    def read(self, options: OptionsT) -> OptionsT:
        """Return a call's options with what the model decides where they say nothing.

        Raises:
            InputError: options that contradict each other, or the model.
        """
        chosen = self.tokenizer.chosen_max_length
        overflow, limit = options.length(self.max_tokens, self.overflow, chosen)
        # Where filling counts, transformers' pipelines fill up nothing unless a batch is asked for.
        usual = 1 if self.model.padding == "attended" else None
        size = options.batch_size or usual
        return options.decided(overflow=overflow, max_length=limit, batch_size=size)

    def answer(self, inputs: Any, options: OptionsT) -> Any:
        """Return the result of one input, a list for what has a length, else an iterator."""
        options = self.read(options)
        if self.is_one(inputs):
            (result,) = Stream(self, options).results([(self._first_index, inputs)])
            return result
        numbered = enumerate(check_inputs(inputs), self._first_index)
        results = Stream(self, options, "inputs[{}]: ").results(numbered)
        if options.progress:
            from tqdm import tqdm

            total = len(inputs) if isinstance(inputs, Sized) else None
            results = iter(tqdm(results, total=total, unit=" inputs"))
        return list(results) if isinstance(inputs, Sized) else results

    def encode(
        self,
        value: Any,
        pair: str | None,
        options: OptionsT,
        *,
        stride: int = 0,
        strategy: str | None = None,
    ) -> Encoded:
        """Tokenize a text, or a pair, into rows by the `overflow` option.

        Args:
            value: the text, or a list of words.
            pair: the second text.
            options: `overflow`: an error, a cut, or windows past `max_length` tokens.
            stride: tokens by which windows overlap.
            strategy: what of a pair may be cut, in place of `truncation`.

        Raises:
            InputError: a text that is too long, or of which the tokenizer keeps nothing.
        """
        windows = options.overflow == "stride"
        if windows and not self.windows:
            wanted = f"'error' or 'truncate' for {self.task}, which answers once a text"
            raise InputError(f"overflow: wanted {wanted}")
        limit = options.max_length
        strategy = strategy or options.strategy
        kept = value, pair
        if not windows:  # what is cut off need not be tokenized
            kept = self.tokenizer.leading(value, pair, max_tokens=limit, strategy=strategy)
        encodings = [self.tokenizer.encoding(*kept)]
        count = len(encodings[0])
        # An empty text is nothing but its special tokens, where there are some; so transformers.
        if all(encodings[0].special_tokens_mask) and (value or pair or not count):
            raise InputError(f"{NO_TOKENS} {show(value)}")
        if count > limit:
            if options.overflow == "error":
                got = f"more than {count}"
                if sum(map(len, filter(None, (value, pair)))) <= COUNTED:
                    got = str(len(self.tokenizer.encoding(value, pair)))
                raise InputError(
                    f"text too long: wanted at most {limit} tokens, got {got}; "
                    "overflow='truncate' cuts it"
                )
            first = self.tokenizer.encoding(
                *kept, max_tokens=limit, stride=stride if windows else 0, strategy=strategy
            )
            if len(first) > limit:  # the library cuts nothing then
                least = f"at least {sum(encodings[0].special_tokens_mask)}, a text's special tokens"
                raise InputError.wanted("max_length", least, limit)
            encodings = [first, *first.overflowing] if windows else [first]
        rows = [Row(list(e.ids), self._types(list(e.type_ids))) for e in encodings]
        return Encoded(rows, encodings, count > limit and not windows)

    def _types(self, types: list[int]) -> list[int]:
        """Return token types as the model knows them: all 0 where it knows fewer."""
        known = self.model.config.type_vocab_size
        if not self.tokenizer.token_types or max(types, default=0) >= known:
            return [0] * len(types)
        return types


def no_text(value: Any) -> InputError:
    """Return the error of an input that has to be a text and is none."""
    hint = "; of a row, give its text: row['text']" if isinstance(value, dict) else ""
    return InputError(f"wanted a text, got {type(value).__name__}{hint}")
