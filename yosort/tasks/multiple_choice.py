"""multiple-choice: which of several continuations or answers fits a text best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from yosort.arguments import check_count, check_several, inputs_or_fields, pick_fields
from yosort.errors import InputError, show
from yosort.model.heads import YosoForMultipleChoice
from yosort.tasks.base import Pipeline
from yosort.tasks.batch import Batch, Prepared
from yosort.tasks.options import CallOptions, StreamOptions, option, with_options
from yosort.tasks.results import Choice, Choices
from yosort.tasks.uncertainty import describe, softmax

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Keywords(StreamOptions, total=False):
    """Keywords of a call as a type checker sees them, beside `on_error`."""

    top_k: int | None


@dataclass(frozen=True, kw_only=True)
class Options(CallOptions):
    """The options of a call."""

    top_k: int | None = option(None, check_count)


class MultipleChoicePipeline(Pipeline[Options]):
    """Ranks choices. transformers has no such pipeline; the result's form is ours."""

    model: YosoForMultipleChoice
    task = "multiple-choice"
    options = Options
    inputs = ("inputs", "prompt", "choices")
    model_class = YosoForMultipleChoice

    @overload
    def __call__(self, inputs: Choices, **options: Unpack[Keywords]) -> list[Choice]: ...

    @overload
    def __call__(
        self,
        inputs: None = ...,
        *,
        prompt: str,
        choices: Sequence[str],
        **options: Unpack[Keywords],
    ) -> list[Choice]: ...

    @overload
    def __call__(
        self, inputs: Sequence[Choices], **options: Unpack[Keywords]
    ) -> list[list[Choice]]: ...

    @overload
    def __call__(
        self, inputs: Iterable[Any], **options: Unpack[Keywords]
    ) -> Iterator[list[Choice]]: ...

    @overload
    def __call__(
        self,
        inputs: Any = ...,
        *,
        prompt: Any = ...,
        choices: Any = ...,
        on_error: str = ...,
        **options: Unpack[Keywords],
    ) -> Any: ...

    @with_options(Options)
    def __call__(
        self, inputs: Any = None, *, prompt: Any = None, choices: Any = None, options: Options
    ) -> Any:
        """Rank the choices of one question, a list, or any iterable.

        Args:
            inputs: a dictionary of `prompt` (a text) and `choices` (two texts or more); or several.
            prompt: a text, in place of inputs.
            choices: what may follow it, or answer it.
            top_k: how many choices, best first; None for all.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            options: see `StreamOptions`.

        Returns:
            Per question a list of `{"choice", "index", "score"}`, best first; scores add up to 1
            over all choices.

        Raises:
            InputError: an input or option that does not fit.
        """
        return self.answer(inputs_or_fields(inputs, prompt=prompt, choices=choices), options)

    def prepare(self, value: Any, options: Options) -> Prepared:
        """See `Pipeline.prepare`."""
        fields = pick_fields(value, ("prompt", "choices")) if isinstance(value, dict) else None
        if fields is None:
            got = show(list(value)) if isinstance(value, dict) else type(value).__name__
            raise InputError(f"wanted a dictionary of prompt and choices, got {got}")
        prompt, choices = fields["prompt"], check_several("choices", fields["choices"], "texts")
        if not isinstance(prompt, str):
            raise InputError.wanted("prompt", "a text", prompt)
        if len(choices) < 2 or not all(isinstance(text, str) for text in choices):
            raise InputError.wanted("choices", "two texts or more", choices)
        encoded = [self.encode(prompt, choice, options) for choice in choices]
        rows = [row for each in encoded for row in each.rows]
        return Prepared(rows, choices, any(each.truncated for each in encoded))

    def run(self, batch: Batch, options: Options) -> list[Any]:
        """See `Pipeline.run`."""
        # The head scores each choice by itself, so that batches may mix questions.
        return list(self.ask(batch, batch.offsets)[:, :, 0].T)

    def finish(self, prepared: Prepared, outputs: list[Any], options: Options) -> Any:
        """See `Pipeline.finish`."""
        scores = softmax(np.array(outputs).T)  # [draws, choices]
        order = np.argsort(-scores.mean(axis=0), kind="stable").tolist()
        return [
            {"choice": prepared.kept[i], "index": i, **describe(scores[:, i])}
            for i in order[: options.top_k]
        ]
