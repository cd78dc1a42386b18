"""multiple-choice: which of several continuations or answers fits a text best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from yosort.arguments import check_count, check_several, pick_fields
from yosort.errors import InputError, show
from yosort.model.heads import YosoForMultipleChoice
from yosort.tasks.batch import Batch
from yosort.tasks.options import StreamOptions, with_options
from yosort.tasks.results import Choice, Choices
from yosort.tasks.stream import Item, Pipeline, no_stride, softmax
from yosort.tasks.uncertainty import describe

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Options(StreamOptions, total=False):
    """Keywords of a call, beside `on_error`."""

    top_k: int | None


class MultipleChoicePipeline(Pipeline):
    """Ranks choices. transformers has no such pipeline; the result's form is ours."""

    model: YosoForMultipleChoice
    task = "multiple-choice"
    model_class = YosoForMultipleChoice

    @overload
    def __call__(self, inputs: Choices, **options: Unpack[Options]) -> list[Choice]: ...

    @overload
    def __call__(
        self, inputs: Sequence[Choices], **options: Unpack[Options]
    ) -> list[list[Choice]]: ...

    @overload
    def __call__(
        self, inputs: Iterable[Any], **options: Unpack[Options]
    ) -> Iterator[list[Choice]]: ...

    @overload
    def __call__(self, inputs: Any, *, on_error: str, **options: Unpack[Options]) -> Any: ...

    @with_options
    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | None = None,
        on_error: str = "raise",
        **stream: Unpack[StreamOptions],
    ) -> Any:
        """Rank the choices of one question, a list, or any iterable.

        Args:
            inputs: a dictionary of `prompt` (a text) and `choices` (two texts or more); or several.
            top_k: how many choices, best first; None for all.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            stream: see `StreamOptions`.

        Returns:
            Per question a list of `{"choice", "index", "score"}`, best first; scores add up to 1
            over all choices.

        Raises:
            InputError: an input or option that does not fit.
        """
        if top_k is not None:
            check_count("top_k", top_k)
        return self.answer(
            inputs,
            {"top_k": top_k},
            self.read_stream(on_error=on_error, **stream),
        )

    def prepare(self, item: Item, value: Any, options: dict[str, Any]) -> None:
        """See `Pipeline.prepare`."""
        no_stride(options, "multiple-choice")
        fields = pick_fields(value, ("prompt", "choices")) if isinstance(value, dict) else None
        if fields is None:
            got = show(list(value)) if isinstance(value, dict) else type(value).__name__
            raise InputError(f"wanted a dictionary of prompt and choices, got {got}")
        prompt, choices = fields["prompt"], check_several("choices", fields["choices"], "texts")
        if not isinstance(prompt, str):
            raise InputError.wanted("prompt", "a text", prompt)
        if len(choices) < 2 or not all(isinstance(text, str) for text in choices):
            raise InputError.wanted("choices", "two texts or more", choices)
        for choice in choices:
            self.encode(item, prompt, choice, options)
        item.kept = list(choices)

    def run(self, batch: Batch, options: dict[str, Any]) -> list[Any]:
        """See `Pipeline.run`."""
        # The head scores each choice by itself, so that batches may mix questions.
        return list(self.ask(batch, batch.offsets)[:, :, 0].T)

    def finish(self, item: Item, options: dict[str, Any]) -> Any:
        """See `Pipeline.finish`."""
        scores = softmax(np.array(item.outputs).T)  # [draws, choices]
        order = np.argsort(-scores.mean(axis=0), kind="stable").tolist()
        return [
            {"choice": item.kept[i], "index": i, **describe(scores[:, i])}
            for i in order[: options["top_k"]]
        ]
