"""text-ranking: documents by how well they answer a query, each read together with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from yosort.arguments import check_choice, check_count, check_several, inputs_or_fields, pick_fields
from yosort.errors import InputError, show
from yosort.model.heads import YosoForSequenceClassification
from yosort.tasks.base import Pipeline
from yosort.tasks.batch import Batch, Prepared
from yosort.tasks.options import CallOptions, StreamOptions, option, with_options
from yosort.tasks.results import Ranked, RankingQuery
from yosort.tasks.text_classification import FUNCTIONS, scores_of, usual_function
from yosort.tasks.uncertainty import describe_each

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Keywords(StreamOptions, total=False):
    """Keywords of a call as a type checker sees them, beside `on_error`."""

    top_k: int | None
    function_to_apply: str | None
    label: str | None


def check_label(name: str, value: Any) -> str:
    """Return the name of a label; which there are, a model says."""
    if not isinstance(value, str):
        raise InputError.wanted(name, "the name of a label", value)
    return value


@dataclass(frozen=True, kw_only=True)
class Options(CallOptions):
    """The options of a call; `read` finds the function and the label that are not given."""

    top_k: int | None = option(None, check_count)
    function_to_apply: str = option(None, check_choice, FUNCTIONS)
    label: str = option(None, check_label)


class TextRankingPipeline(Pipeline[Options]):
    """Ranks documents for a query, as a cross-encoder does.

    transformers has no such pipeline; names here are those of sentence-transformers'
    `CrossEncoder.rank` and text-embeddings-inference's `/rerank`.
    """

    model: YosoForSequenceClassification
    task = "text-ranking"
    options = Options
    inputs = ("inputs", "query", "documents")
    instead: ClassVar[dict[str, str]] = {
        "top_n": "top_k is how many documents",
        "return_documents": "each result has its document's text",
        "raw_scores": 'function_to_apply="none" gives them',
    }
    model_class = YosoForSequenceClassification

    @overload
    def __call__(self, inputs: RankingQuery, **options: Unpack[Keywords]) -> list[Ranked]: ...

    @overload
    def __call__(
        self,
        inputs: None = ...,
        *,
        query: str,
        documents: Iterable[str],
        **options: Unpack[Keywords],
    ) -> list[Ranked]: ...

    @overload
    def __call__(
        self, query: str, documents: Iterable[str], /, **options: Unpack[Keywords]
    ) -> list[Ranked]: ...

    @overload
    def __call__(
        self, inputs: Sequence[RankingQuery], **options: Unpack[Keywords]
    ) -> list[list[Ranked]]: ...

    @overload
    def __call__(
        self, inputs: Iterator[RankingQuery], **options: Unpack[Keywords]
    ) -> Iterator[list[Ranked]]: ...

    @overload
    def __call__(
        self,
        inputs: Any = ...,
        *,
        query: Any = ...,
        documents: Any = ...,
        on_error: str = ...,
        **options: Unpack[Keywords],
    ) -> Any: ...

    @with_options(Options)
    def __call__(
        self, inputs: Any = None, *, query: Any = None, documents: Any = None, options: Options
    ) -> Any:
        """Rank the documents of one query, a list, or any iterable.

        Args:
            inputs: a dictionary of `query` and `documents`; or several.
            query: a text, in place of inputs.
            documents: the texts to rank for it.
            top_k: how many documents, best first; None for all.
            function_to_apply: what makes a score of logits: "softmax", "sigmoid" or "none"; None:
                as in text-classification, sigmoid where there is one label.
            label: the label whose score ranks; None: the only one. A model of several needs it.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            options: see `StreamOptions`.

        Returns:
            Per query a list of `{"index", "score", "text"}`, best first, equal scores in the order
            of the documents. A score depends on its document and the query alone.

        Raises:
            InputError: an input or option that does not fit; a document that is too long.
        """
        return self.answer(inputs_or_fields(inputs, query=query, documents=documents), options)

    def read(self, options: Options) -> Options:
        """See `Pipeline.read`."""
        options = super().read(options)
        labels = self.model.config.label_names
        label: str | None = options.label
        if label is None and len(labels) == 1:
            label = labels[0]
        if label not in labels:
            wanted = f"one of this model's, {show(labels)}, whose score ranks"
            raise InputError.wanted("label", wanted, label, got=None if label else "none")
        function = options.function_to_apply or usual_function(self.model.config)
        return options.decided(label=label, function_to_apply=function)

    def read_positional(self, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """Return what a call was given without names; two are a query and its documents."""
        if len(inputs) == 2:
            return dict(zip(("query", "documents"), inputs, strict=True))
        return super().read_positional(inputs)

    def prepare(self, value: Any, options: Options) -> Prepared:
        """See `Pipeline.prepare`."""
        fields = pick_fields(value, ("query", "documents")) if isinstance(value, dict) else None
        if fields is None:
            got = show(list(value)) if isinstance(value, dict) else type(value).__name__
            raise InputError(f"wanted a dictionary of query and documents, got {got}")
        query, documents = fields["query"], check_several("documents", fields["documents"], "texts")
        if not isinstance(query, str):
            raise InputError.wanted("query", "a text", query)
        encoded = []
        for index, document in enumerate(documents):
            if not isinstance(document, str):
                raise InputError.wanted(f"documents[{index}]", "a text", document)
            try:
                # An empty second text is none, as in text-classification.
                encoded.append(self.encode(query, document or None, options))
            except InputError as error:
                raise InputError(f"documents[{index}]: {error}") from None
        rows = [row for each in encoded for row in each.rows]
        return Prepared(rows, documents, any(each.truncated for each in encoded))

    def run(self, batch: Batch, options: Options) -> list[Any]:
        """See `Pipeline.run`."""
        return list(self.ask(batch, batch.offsets).swapaxes(0, 1))

    def finish(self, prepared: Prepared, outputs: list[Any], options: Options) -> Any:
        """See `Pipeline.finish`."""
        if not outputs:
            return []
        logits = np.array(outputs, np.float64)  # [documents, draws, labels]
        label = self.model.config.label_names.index(options.label)
        scores = scores_of(logits, options.function_to_apply)[..., label].T
        described = describe_each(scores)
        order = np.argsort(-scores.mean(axis=0), kind="stable").tolist()
        return [
            {"index": i, **described[i], "text": prepared.kept[i]} for i in order[: options.top_k]
        ]
