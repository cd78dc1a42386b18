"""feature-extraction: the hidden states of a text, or one vector of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from yosort.arguments import check_choice, check_flag
from yosort.errors import InputError, show
from yosort.model.heads import YosoModel
from yosort.tasks.batch import Batch
from yosort.tasks.options import StreamOptions, with_options
from yosort.tasks.stream import Item, Pipeline, no_stride, no_text

if TYPE_CHECKING:
    from typing_extensions import Unpack

POOLING = ("none", "cls", "mean")


class Options(StreamOptions, total=False):
    """Keywords of a call, beside `on_error`."""

    pooling: str
    normalize: bool
    return_tensors: bool | str | None


class FeatureExtractionPipeline(Pipeline):
    """Embeds texts; without pooling, results are transformers'."""

    model: YosoModel
    task = "feature-extraction"
    model_class = YosoModel
    has_scores = False

    @overload
    def __call__(self, inputs: str | Sequence[str], **options: Unpack[Options]) -> Any: ...

    @overload
    def __call__(self, inputs: Iterable[Any], **options: Unpack[Options]) -> Iterator[Any]: ...

    @overload
    def __call__(self, inputs: Any, *, on_error: str, **options: Unpack[Options]) -> Any: ...

    @with_options
    def __call__(
        self,
        inputs: Any,
        *,
        pooling: str = "none",
        normalize: bool = False,
        return_tensors: bool | str | None = False,
        on_error: str = "raise",
        **stream: Unpack[StreamOptions],
    ) -> Any:
        """Embed one text, a list, or any iterable.

        Args:
            inputs: a text, or several.
            pooling: "none" for every token, "cls" for the first one, "mean" over all.
            normalize: divide each vector by its length.
            return_tensors: True or "np": numpy float32 arrays instead of nested lists.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            stream: see `StreamOptions`.

        Returns:
            Per text: without pooling [1, n, hidden], special tokens included; else [hidden].

        Raises:
            InputError: an input or option that does not fit.
        """
        arrays = isinstance(return_tensors, str) and return_tensors == "np"
        if isinstance(return_tensors, str) and not arrays:
            raise InputError(
                f"return_tensors: wanted True, False or 'np', got {show(return_tensors)}; "
                "torch.from_numpy makes tensors of arrays"
            )
        options = {
            "pooling": check_choice("pooling", pooling, POOLING),
            "normalize": check_flag("normalize", normalize),
            "arrays": arrays or check_flag("return_tensors", return_tensors, unset=False),
        }
        return self.answer(inputs, options, self.read_stream(on_error=on_error, **stream))

    def prepare(self, item: Item, value: Any, options: dict[str, Any]) -> None:
        """See `Pipeline.prepare`."""
        no_stride(options, "feature-extraction")
        if not isinstance(value, str):
            raise no_text(value)
        self.encode(item, value, None, options)

    def run(self, batch: Batch, options: dict[str, Any]) -> list[Any]:
        """See `Pipeline.run`."""
        vectors = []
        for tokens in batch.split(self.ask(batch)[0]):
            if options["pooling"] == "cls":
                tokens = tokens[0]
            elif options["pooling"] == "mean":
                tokens = tokens.mean(axis=0, dtype=np.float64)
            if options["normalize"]:
                norm = np.linalg.norm(tokens.astype(np.float64), axis=-1, keepdims=True)
                tokens = tokens / np.maximum(norm, 1e-12)
            # A copy: a view would keep the whole batch alive.
            vectors.append(np.array(tokens, np.float32))
        return vectors

    def finish(self, item: Item, options: dict[str, Any]) -> Any:
        """See `Pipeline.finish`."""
        vectors = item.outputs[0]
        if options["pooling"] == "none":
            vectors = vectors[None]
        return vectors if options["arrays"] else vectors.tolist()
