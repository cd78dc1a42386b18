"""text-classification: a label, or a score for each, of a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_choice, check_count, pick_fields
from yosort.config import YosoConfig
from yosort.errors import InputError, show
from yosort.model.heads import YosoForSequenceClassification
from yosort.tasks.base import Pipeline
from yosort.tasks.batch import Batch, Prepared
from yosort.tasks.options import CallOptions, StreamOptions, option, with_options
from yosort.tasks.results import Labels, LabelScore, TextPair
from yosort.tasks.uncertainty import describe, softmax

if TYPE_CHECKING:
    from typing_extensions import Unpack

FUNCTIONS = ("softmax", "sigmoid", "none")
#: transformers' word for a top_k that is not given: then it answers with a dictionary, no list.
BEST_ALONE = ""


class Keywords(StreamOptions, total=False):
    """Keywords of a call as a type checker sees them, beside `on_error`."""

    function_to_apply: str | None


def usual_function(config: YosoConfig) -> str:
    """Return what makes scores of logits where a call does not say, as in transformers."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def scores_of(logits: npt.NDArray[Any], function: str) -> npt.NDArray[np.float64]:
    """Return the scores of logits [..., labels], in float64."""
    logits = np.asarray(logits, np.float64)
    if function == "softmax":
        return softmax(logits)
    return 1 / (1 + np.exp(-logits)) if function == "sigmoid" else logits


def check_top_k(name: str, value: Any) -> int | str:
    """Return how many labels, or that the best alone is wanted, not in a list."""
    alone = isinstance(value, str) and value == BEST_ALONE
    return BEST_ALONE if alone else check_count(name, value)


@dataclass(frozen=True, kw_only=True)
class Options(CallOptions):
    """The options of a call; `function_to_apply` is the config's where `read` finds none."""

    top_k: Any = option(BEST_ALONE, check_top_k, unset=None)
    function_to_apply: str = option(None, check_choice, FUNCTIONS)


class TextClassificationPipeline(Pipeline[Options], Generic[Labels]):
    """Classifies texts; results have transformers' keys, order and nesting."""

    model: YosoForSequenceClassification
    task = "text-classification"
    options = Options
    instead: ClassVar[dict[str, str]] = {
        "text_pair": 'a dictionary is a pair: {"text": ..., "text_pair": ...}'
    }
    model_class = YosoForSequenceClassification

    @overload
    def __call__(self, inputs: TextPair, **options: Unpack[Keywords]) -> Labels: ...

    @overload
    def __call__(
        self, inputs: str | list[str] | list[TextPair], **options: Unpack[Keywords]
    ) -> list[Labels]: ...

    @overload
    def __call__(
        self, inputs: str | TextPair, *, top_k: int | None, **options: Unpack[Keywords]
    ) -> list[LabelScore]: ...

    @overload
    def __call__(
        self, inputs: list[str] | list[TextPair], *, top_k: int | None, **options: Unpack[Keywords]
    ) -> list[list[LabelScore]]: ...

    @overload
    def __call__(
        self,
        inputs: Iterable[Any],
        *,
        top_k: int | None = ...,
        on_error: str = ...,
        **options: Unpack[Keywords],
    ) -> Any: ...

    @with_options(Options)
    def __call__(self, inputs: Any, options: Options) -> Any:
        """Classify one text, a list, or any iterable.

        Args:
            inputs: a text, or a dictionary of `text` and `text_pair`; or several.
            top_k: how many labels, best first; None for all. Left out: the best alone.
            function_to_apply: "softmax", "sigmoid" or "none"; None: what the config's problem asks
                for (none for a regression, sigmoid for several labels at once, else softmax).
            on_error: "raise", or "collect" a `Failure` in the input's place.
            options: see `StreamOptions`.

        Returns:
            `{"label", "score"}` a text; for one text a list of that. With top_k, a list a text.

        Raises:
            InputError: an input or option that does not fit.
        """
        return self.answer(inputs, options)

    def read(self, options: Options) -> Options:
        """See `Pipeline.read`."""
        options = super().read(options)
        function = options.function_to_apply or usual_function(self.model.config)
        return options.decided(function_to_apply=function)

    def wrap(self, result: Any, inputs: Any, given: dict[str, Any]) -> Any:
        """Put one text's result into a list, unless the call itself names top_k."""
        return [result] if isinstance(inputs, str) and "top_k" not in given else result

    def prepare(self, value: Any, options: Options) -> Prepared:
        """See `Pipeline.prepare`."""
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
        return self.encode(text, pair or None, options).prepared()

    def run(self, batch: Batch, options: Options) -> list[Any]:
        """See `Pipeline.run`."""
        return list(self.ask(batch, batch.offsets).swapaxes(0, 1))

    def finish(self, prepared: Prepared, outputs: list[Any], options: Options) -> Any:
        """See `Pipeline.finish`."""
        scores = scores_of(outputs[0], options.function_to_apply)
        labels = self.model.config.id2label
        ranked = [
            {"label": labels[i], **describe(scores[:, i])}
            for i in np.argsort(-scores.mean(axis=0), kind="stable").tolist()
        ]
        return ranked[0] if options.top_k == BEST_ALONE else ranked[: options.top_k]
