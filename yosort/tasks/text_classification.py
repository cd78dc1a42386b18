"""text-classification: a label, or a score for each, of a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from yosort.arguments import check_choice, check_count, pick_fields
from yosort.errors import InputError, show
from yosort.model.heads import YosoForSequenceClassification
from yosort.tasks.batch import Batch
from yosort.tasks.options import StreamOptions, with_options
from yosort.tasks.results import LabelScore, TextPair
from yosort.tasks.stream import Item, Pipeline, no_stride, softmax
from yosort.tasks.uncertainty import describe

if TYPE_CHECKING:
    from typing_extensions import Unpack

FUNCTIONS = ("softmax", "sigmoid", "none")
#: top_k was not given: then transformers answers with one dictionary, not with a list of them.
_ONE_DICTIONARY: Any = object()


class Options(StreamOptions, total=False):
    """Keywords of a call, beside `on_error`."""

    function_to_apply: str | None


class TextClassificationPipeline(Pipeline):
    """Classifies texts; results have transformers' keys, order and nesting."""

    model: YosoForSequenceClassification
    task = "text-classification"
    instead: ClassVar[dict[str, str]] = {
        "text_pair": 'a dictionary is a pair: {"text": ..., "text_pair": ...}'
    }
    model_class = YosoForSequenceClassification

    @overload
    def __call__(self, inputs: TextPair, **options: Unpack[Options]) -> LabelScore: ...

    @overload
    def __call__(
        self, inputs: str | list[str] | list[TextPair], **options: Unpack[Options]
    ) -> list[LabelScore]: ...

    @overload
    def __call__(
        self, inputs: str | TextPair, *, top_k: int | None, **options: Unpack[Options]
    ) -> list[LabelScore]: ...

    @overload
    def __call__(
        self, inputs: list[str] | list[TextPair], *, top_k: int | None, **options: Unpack[Options]
    ) -> list[list[LabelScore]]: ...

    @overload
    def __call__(
        self,
        inputs: Iterable[Any],
        *,
        top_k: int | None = ...,
        on_error: str = ...,
        **options: Unpack[Options],
    ) -> Any: ...

    @with_options
    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | None = _ONE_DICTIONARY,
        function_to_apply: str | None = None,
        on_error: str = "raise",
        **stream: Unpack[StreamOptions],
    ) -> Any:
        """Classify one text, a list, or any iterable.

        Args:
            inputs: a text, or a dictionary of `text` and `text_pair`; or several.
            top_k: how many labels, best first; None for all. Left out: the best alone.
            function_to_apply: "softmax", "sigmoid" or "none"; None: what the config's problem asks
                for (none for a regression, sigmoid for several labels at once, else softmax).
            on_error: "raise", or "collect" a `Failure` in the input's place.
            stream: see `StreamOptions`.

        Returns:
            `{"label", "score"}` a text; for one text a list of that. With top_k, a list a text.

        Raises:
            InputError: an input or option that does not fit.
        """
        one = top_k is _ONE_DICTIONARY
        if not one and top_k is not None:
            check_count("top_k", top_k)
        function = self._usual()
        if function_to_apply is not None:
            function = check_choice("function_to_apply", function_to_apply, FUNCTIONS)
        options = {"top_k": top_k, "one": one, "function": function}
        return self.answer(inputs, options, self.read_stream(on_error=on_error, **stream))

    def wrap(self, result: Any, inputs: Any, given: dict[str, Any]) -> Any:
        """Put one text's result into a list, unless the call itself names top_k."""
        return [result] if isinstance(inputs, str) and "top_k" not in given else result

    def _usual(self) -> str:
        config = self.model.config
        if config.problem_type == "regression":
            return "none"
        if config.problem_type == "multi_label_classification" or config.num_labels == 1:
            return "sigmoid"
        return "softmax"

    def prepare(self, item: Item, value: Any, options: dict[str, Any]) -> None:
        """See `Pipeline.prepare`."""
        no_stride(options, "text-classification")
        text, pair = value, None
        if isinstance(value, dict):
            fields = pick_fields(value, ("text",), ("text_pair",))
            if fields is None:
                raise InputError(f"wanted the keys text and text_pair, got {show(list(value))}")
            text, pair = fields["text"], fields.get("text_pair")
            for name, part in fields.items():
                if not isinstance(part, str) and (part is not None or name == "text"):
                    raise InputError(f"{name}: wanted a text, got {show(part)}")
        elif not isinstance(text, str):
            got = type(text).__name__
            # Two texts side by side may be a pair or two texts: neither is guessed.
            pairs = '; a pair is {"text": ..., "text_pair": ...}'
            hint = pairs if isinstance(text, (list, tuple)) else ""
            raise InputError(
                f"wanted a text, or a dictionary of text and text_pair, got {got}{hint}"
            )
        # An empty second text is none, as transformers' tokenizers have it.
        self.encode(item, text, pair or None, options)

    def run(self, batch: Batch, options: dict[str, Any]) -> list[Any]:
        """See `Pipeline.run`."""
        return list(self.ask(batch, batch.offsets).swapaxes(0, 1))

    def finish(self, item: Item, options: dict[str, Any]) -> Any:
        """See `Pipeline.finish`."""
        logits = np.asarray(item.outputs[0], np.float64)
        scores = {
            "softmax": lambda: softmax(logits),
            "sigmoid": lambda: 1 / (1 + np.exp(-logits)),
            "none": lambda: logits,
        }[options["function"]]()
        labels = self.model.config.id2label or {}
        ranked = [
            {"label": labels[i], **describe(scores[:, i])}
            for i in np.argsort(-scores.mean(axis=0), kind="stable").tolist()
        ]
        return ranked[0] if options["one"] else ranked[: options["top_k"]]
