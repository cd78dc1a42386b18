"""feature-extraction: the hidden states of a text, or one vector of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

import numpy as np

from yosort.arguments import check_choice, check_flag
from yosort.errors import ConfigError, InputError, show
from yosort.model.heads import YosoModel
from yosort.tasks.base import Pipeline, no_text
from yosort.tasks.batch import Batch, Prepared
from yosort.tasks.options import CallOptions, StreamOptions, option, with_options
from yosort.tasks.results import Array, Features, Vector, Vectors

if TYPE_CHECKING:
    from typing import TypeAlias

    from typing_extensions import Unpack

    Texts: TypeAlias = list[str] | tuple[str, ...]
    #: Pipelines that were not made to answer with arrays.
    OfLists: TypeAlias = "FeatureExtractionPipeline[Vectors] | FeatureExtractionPipeline[Vector]"

POOLING = ("none", "cls", "mean")


class Keywords(StreamOptions, total=False):
    """Keywords of a call as a type checker sees them, beside those that the overloads name."""

    normalize: bool


def check_tensors(name: str, value: Any) -> bool:
    """Return whether results are arrays: True, or "np"."""
    if isinstance(value, str) and value != "np":
        raise InputError(
            f"{name}: wanted True, False or 'np', got {show(value)}; "
            "torch.from_numpy makes tensors of arrays"
        )
    return isinstance(value, str) or check_flag(name, value)


@dataclass(frozen=True, kw_only=True)
class Options(CallOptions):
    """The options of a call."""

    pooling: str = option("none", check_choice, POOLING)
    normalize: bool = option(False, check_flag)
    return_tensors: bool = option(False, check_tensors)


class FeatureExtractionPipeline(Pipeline[Options], Generic[Features]):
    """Embeds texts; without pooling, results are transformers'.

    Where sentence-transformers' files are beside the model, they say how texts are read, pooled,
    normalised and cut, unless options say otherwise.
    """

    model: YosoModel
    task = "feature-extraction"
    options = Options
    model_class = YosoModel
    has_scores = False

    @overload
    def __call__(self, inputs: str, **options: Unpack[Keywords]) -> Features: ...

    @overload
    def __call__(self, inputs: Texts, **options: Unpack[Keywords]) -> list[Features]: ...

    @overload
    def __call__(
        self, inputs: Iterator[str], **options: Unpack[Keywords]
    ) -> Iterator[Features]: ...

    @overload
    def __call__(
        self,
        inputs: str,
        *,
        pooling: str = ...,
        return_tensors: Literal[True, "np"],
        **options: Unpack[Keywords],
    ) -> Array: ...

    @overload
    def __call__(
        self,
        inputs: Texts,
        *,
        pooling: str = ...,
        return_tensors: Literal[True, "np"],
        **options: Unpack[Keywords],
    ) -> list[Array]: ...

    @overload
    def __call__(
        self: OfLists,
        inputs: str,
        *,
        pooling: Literal["cls", "mean"],
        **options: Unpack[Keywords],
    ) -> Vector: ...

    @overload
    def __call__(
        self: OfLists,
        inputs: Texts,
        *,
        pooling: Literal["cls", "mean"],
        **options: Unpack[Keywords],
    ) -> list[Vector]: ...

    @overload
    def __call__(
        self,
        inputs: Iterable[Any],
        *,
        pooling: str = ...,
        return_tensors: bool | str | None = ...,
        on_error: str = ...,
        **options: Unpack[Keywords],
    ) -> Any: ...

    @with_options(Options)
    def __call__(self, inputs: Any, options: Options) -> Any:
        """Embed one text, a list, or any iterable.

        Args:
            inputs: a text, or several.
            pooling: "none" for every token, "cls" for the first one, "mean" over all.
            normalize: divide each vector by its length.
            return_tensors: True or "np": numpy float32 arrays instead of nested lists.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            options: see `StreamOptions`.

        Returns:
            Per text: without pooling [1, n, hidden], special tokens included; else [hidden].

        Raises:
            InputError: an input or option that does not fit.
        """
        return self.answer(inputs, options)

    def _read_defaults(self, given: dict[str, Any]) -> Options:
        """See `Pipeline`."""
        said = self.model.sentence
        if said is None:
            return super()._read_defaults(given)
        given = {name: value for name, value in given.items() if value is not None}
        if said.refusal is not None and "pooling" not in given:
            raise ConfigError(
                f"{said.refusal}; pooling='mean' or 'cls' makes vectors without them all"
            )
        limit = said.max_length or self.tokenizer.model_max_length
        if limit < self.max_tokens:
            given = {"max_length": limit, **given}
        if said.refusal is None:
            given = {"pooling": said.pooling, "normalize": said.normalize, **given}
        return super()._read_defaults(given)

    def prepare(self, value: Any, options: Options) -> Prepared:
        """See `Pipeline.prepare`."""
        if not isinstance(value, str):
            raise no_text(value)
        if self.model.sentence is not None:
            value = self.model.sentence.read(value)
        return self.encode(value, None, options).prepared()

    def run(self, batch: Batch, options: Options) -> list[Any]:
        """See `Pipeline.run`."""
        vectors = []
        for tokens in batch.split(self.ask(batch)[0]):
            if options.pooling == "cls":
                tokens = tokens[0]
            elif options.pooling == "mean":
                tokens = tokens.mean(axis=0, dtype=np.float64)
            if options.normalize:
                norm = np.linalg.norm(tokens.astype(np.float64), axis=-1, keepdims=True)
                tokens = tokens / np.maximum(norm, 1e-12)
            # A copy: a view would keep the whole batch alive.
            vectors.append(np.array(tokens, np.float32))
        return vectors

    def finish(self, prepared: Prepared, outputs: list[Any], options: Options) -> Any:
        """See `Pipeline.finish`."""
        vectors = outputs[0]
        if options.pooling == "none":
            vectors = vectors[None]
        return vectors if options.return_tensors else vectors.tolist()
