"""feature-extraction: the hidden states of a text, or one vector of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

import numpy as np

from yosort.arguments import check_choice, check_count, check_flag, pick_fields
from yosort.checkpoint import Sentence
from yosort.errors import ConfigError, InputError, show
from yosort.model.base import PretrainedModel
from yosort.model.heads import YosoModel
from yosort.tasks import parts
from yosort.tasks.base import Pipeline, no_text
from yosort.tasks.batch import Batch, Prepared
from yosort.tasks.options import CallOptions, StreamOptions, option, with_options
from yosort.tasks.results import Array, Features, Part, Vector, Vectors

if TYPE_CHECKING:
    from typing import TypeAlias

    from typing_extensions import Unpack

    Texts: TypeAlias = list[str] | tuple[str, ...]
    Spans: TypeAlias = Sequence[Any]
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
    chunks: int | None = option(None, check_count)


def usual_pooling(model: PretrainedModel) -> str:
    """Return how one vector is made of a text's, where a user does not say and wants one.

    As the model's files say, else by the mean.
    """
    return (model.sentence or Sentence()).pooling


class FeatureExtractionPipeline(Pipeline[Options], Generic[Features]):
    """Embeds texts; without pooling, results are transformers'.

    Where sentence-transformers' files are beside the model, they say how texts are read, pooled,
    normalised and cut, unless options say otherwise.
    """

    model: YosoModel
    task = "feature-extraction"
    options = Options
    inputs = ("inputs", "spans")
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
        inputs: str,
        *,
        chunks: int,
        pooling: str = ...,
        return_tensors: bool | str | None = ...,
        **options: Unpack[Keywords],
    ) -> list[Part]: ...

    @overload
    def __call__(
        self,
        inputs: Texts,
        *,
        chunks: int,
        pooling: str = ...,
        return_tensors: bool | str | None = ...,
        **options: Unpack[Keywords],
    ) -> list[list[Part]]: ...

    @overload
    def __call__(
        self,
        inputs: str,
        *,
        spans: Spans,
        pooling: str = ...,
        return_tensors: bool | str | None = ...,
        **options: Unpack[Keywords],
    ) -> list[Part]: ...

    @overload
    def __call__(
        self,
        inputs: Texts,
        *,
        spans: Sequence[Spans],
        pooling: str = ...,
        return_tensors: bool | str | None = ...,
        **options: Unpack[Keywords],
    ) -> list[list[Part]]: ...

    @overload
    def __call__(
        self,
        inputs: Iterable[Any],
        *,
        pooling: str = ...,
        return_tensors: bool | str | None = ...,
        chunks: int | None = ...,
        on_error: str = ...,
        **options: Unpack[Keywords],
    ) -> Any: ...

    @with_options(Options)
    def __call__(self, inputs: Any, *, spans: Any = None, options: Options) -> Any:
        """Embed one text, a list, or any iterable.

        Args:
            inputs: a text, or a dictionary of `text` and `spans`; or several.
            spans: the parts of one text that get a vector each, pooled from one reading of the
                whole: pairs (start, end) of characters, or dictionaries with these keys, in any
                order, and they may overlap. Of a list of texts, such a list for each.
            pooling: "none" for every token, "cls" for the first one, "mean" over all. Parts are
                pooled by the mean, and "cls" is refused: no part has a first token for it.
            normalize: divide each vector by its length.
            return_tensors: True or "np": numpy float32 arrays instead of nested lists.
            chunks: tokens of a part, at most: vectors of windows as of spans. They end between
                words where they can.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            options: see `StreamOptions`.

        Returns:
            Per text: without pooling [1, n, hidden], special tokens included; else [hidden]. With
            spans or chunks a list of `{"start", "end", "vector"}`, in their order.

        Raises:
            InputError: an input or option that does not fit; a span that is none of its text, or
                holds no token.
        """
        return self.answer(inputs if spans is None else _with_spans(inputs, spans), options)

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
        text, spans, whole = value, None, options.chunks is None
        if isinstance(value, dict) and (found := pick_fields(value, ("text", "spans"))):
            text, spans, whole = found["text"], found["spans"], False
        if not isinstance(text, str):
            raise no_text(text)
        sentence = self.model.sentence
        read, prompt = (text, "") if sentence is None else (sentence.read(text), sentence.prompt)
        encoded = self.encode(read, None, options)
        if whole:
            return encoded.prepared()
        if options.pooling == "cls":
            raise InputError("pooling: wanted 'mean' for the vectors of parts, got 'cls'")
        if len(read) != len(prompt) + len(text):
            raise InputError(f"parts: wanted a text as long in lower case, got {show(text)}")
        if options.chunks is None:
            places = parts.of_spans(read, encoded.encodings[0], spans, len(prompt))
        elif spans is None:
            places = parts.of_windows(read, encoded.encodings[0], options.chunks, len(prompt))
        else:
            raise InputError(f"chunks: wanted none beside spans, got {options.chunks}")
        tokens = tuple((place.first, place.last) for place in places)
        rows = [replace(row, parts=tokens) for row in encoded.rows]
        return Prepared(rows, places, encoded.truncated)

    def run(self, batch: Batch, options: Options) -> list[Any]:
        """See `Pipeline.run`."""
        vectors = []
        for row, tokens in zip(batch.rows, batch.split(self.ask(batch)[0]), strict=True):
            if row.parts is not None:
                means = [tokens[a:b].mean(axis=0, dtype=np.float64) for a, b in row.parts]
                tokens = np.reshape(means, (-1, tokens.shape[1]))
            elif options.pooling == "cls":
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
        if prepared.kept is None and options.pooling == "none":
            vectors = vectors[None]
        found = vectors if options.return_tensors else vectors.tolist()
        if prepared.kept is None:
            return found
        return [
            {"start": place.start, "end": place.end, "vector": vector}
            for place, vector in zip(prepared.kept, found, strict=True)
        ]


def _with_spans(inputs: Any, spans: Any) -> Any:
    """Return texts as dictionaries, each with its spans."""
    if isinstance(inputs, str):
        return {"text": inputs, "spans": spans}
    if not isinstance(inputs, (list, tuple)):
        raise InputError(
            f"spans: wanted a text beside them, or a list of texts, got {type(inputs).__name__}; "
            "any iterable may give dictionaries of text and spans"
        )
    if not isinstance(spans, (list, tuple)) or len(spans) != len(inputs):
        got = len(spans) if isinstance(spans, (list, tuple)) else show(spans)
        raise InputError.wanted("spans", f"a list of them for each of {len(inputs)} texts", got=got)
    return [{"text": text, "spans": each} for text, each in zip(inputs, spans, strict=True)]
